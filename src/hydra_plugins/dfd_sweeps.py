"""Hydra takes sweepers and launchers from this package only: ours live in `dfd.cli` and are named here."""

from dfd.cli import search


class Search(search.Search):
    """hydra/sweeper=optuna"""
