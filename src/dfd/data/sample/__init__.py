"""A rendered, licence-free stand-in for datasets that need a signed form: drawn heads in the official layouts."""

from dfd.data.sample.render import build, describe

__all__ = ["build", "describe"]
