"""What every layer says to every other: records, manifest, predictions, tensors, build."""
