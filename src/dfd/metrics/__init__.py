"""NumPy functions of scores and labels."""
