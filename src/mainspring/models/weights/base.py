"""What a file of weights gives, whatever its format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mainspring.errors import WeightsError

if TYPE_CHECKING:
    import torch

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class Weights(Protocol):
    """Tensors by their published names."""

    shapes: Mapping[str, tuple[int, ...]]

    def read(self, name: str) -> "torch.Tensor":
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


def pickled(paths: Sequence[Path]) -> WeightsError:
    """The error for weights that only running the code in them would read."""
    named = ", ".join(path.name for path in paths[:3])
    return WeightsError(
        f"{paths[0].parent} has its weights in {named}: a pickle, which runs the code that it carries when it is "
        "read. Take the model in safetensors or GGUF; only these are read."
    )


def damaged(path: Path, what: str) -> WeightsError:
    """The error for a file whose header does not read."""
    size_bytes = path.stat().st_size
    return WeightsError(f"{path} ({size_bytes:,} bytes) is damaged: {what}. Fetch or copy it again.")


def check_names(
    source: Path, asking: str, missing: Sequence[str], extra: Sequence[str], wrong: Sequence[str]
) -> None:
    """Raise WeightsError if there is any tensor that is missing, unknown or misshapen; each kind is listed."""
    if missing or extra or wrong:
        raise WeightsError(
            f"{source} does not hold the tensors that {asking} tells of, so nothing was loaded: "
            f"missing {_some(missing)}; unknown {_some(extra)}; misshapen {_some(wrong)}. Fetch the model again."
        )


def _some(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
