"""What a file of weights gives, whatever its format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch

from mainspring.errors import WeightsError


class Weights(Protocol):
    """Tensors by their published names."""

    shapes: Mapping[str, tuple[int, ...]]

    def read(self, name: str) -> torch.Tensor:
        """One tensor, of the shape in `shapes`."""
        ...


def check_size(path: Path, expected_bytes: int) -> None:
    """Raise WeightsError unless the file is as long as its own header says."""
    found_bytes = path.stat().st_size
    if found_bytes < expected_bytes:
        raise WeightsError(
            f"{path} is truncated: its header tells of {expected_bytes:,} bytes, it has {found_bytes:,}. "
            "Fetch or copy it again."
        )


def damaged(path: Path, what: str) -> WeightsError:
    """The error for a file whose header does not read."""
    size_bytes = path.stat().st_size
    return WeightsError(f"{path} ({size_bytes:,} bytes) is damaged: {what}. Fetch or copy it again.")
