"""One module for each thing that costs time; `scripts/bench.py` runs them."""
