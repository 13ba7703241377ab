"""What a model is trained towards: one file an objective."""
