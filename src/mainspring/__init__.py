"""Mainspring carries a language model through its whole life on machines that its owner controls."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "Workspace": "mainspring.app",
    "Message": "mainspring.schema",
    "Sampling": "mainspring.schema",
}
__all__ = ["Message", "Sampling", "Workspace"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'mainspring' has no name '{name}'; it has {', '.join(sorted(_NAMES))}")
