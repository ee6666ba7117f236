"""What commands do with a run, on plain values: assemble and evaluate it, report on it; free of Hydra."""
