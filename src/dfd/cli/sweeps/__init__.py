"""Sweeps and searches: jobs, launchers, the Optuna sweeper, and the summary after a sweep."""
