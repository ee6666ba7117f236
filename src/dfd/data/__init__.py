"""Records to batches: datasets, readers, sampling, augmentation, the datamodule."""
