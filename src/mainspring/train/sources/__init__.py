"""Which segments of tokens a model trains on: one file a kind."""
