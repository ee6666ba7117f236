"""Objectives, losses, optimisers, callbacks and checkpoints."""
