"""dfd: train, evaluate and ship deepfake detectors."""

__version__ = "0.1.0"
