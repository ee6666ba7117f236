"""A run looks at a file: engine, verdict, media, abstention, observation; free of Lightning, Hydra and matplotlib."""
