"""Networks that find forged stretches of time in sequences of features: one core, a file per architecture."""
