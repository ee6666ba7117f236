"""Which way a metric improves."""


def lower_is_better(metric: str) -> bool:
    """Whether a logged number is good when it is small."""
    return "loss" in metric or "reconstruction" in metric
