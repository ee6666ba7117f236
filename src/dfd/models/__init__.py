"""Networks: plain modules that see no loss, no label, no Lightning and no Hydra."""
