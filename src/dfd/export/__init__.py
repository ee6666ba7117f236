"""Trained runs as bundles: the network as one graph, with everything that is needed to look at a file."""
