"""One file an architecture: its metadata as a published config.json, and how its tensors are stored."""
