"""Hydra takes sweepers and launchers from this package only: ours live in `dfd.cli` and are named here."""

from dfd.cli.sweeps import launchers, search


class Search(search.Search):
    """hydra/sweeper=optuna"""


class Joblib(launchers.Joblib):
    """hydra/launcher=joblib"""


class Submitit(launchers.Submitit):
    """hydra/launcher=submitit"""


class Ray(launchers.Ray):
    """hydra/launcher=ray"""
