"""The class in transformers that a published folder is for."""

import json

import transformers


def class_of(folder):
    """What config.json names in `architectures`."""
    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    return getattr(transformers, name)
