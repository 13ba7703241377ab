"""A model in any layout that is read becomes a folder in the published one, in a chosen type of numbers."""

import shutil
import tempfile
from pathlib import Path
from typing import Literal

import torch

from mainspring.errors import UserError
from mainspring.models.load import load
from mainspring.models.published import copy_beside, find
from mainspring.models.save import save

Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def convert(source: Path, folder: Path, dtype: str) -> int:
    """Write `folder` whole or not at all; returns the bytes of its files.

    Raises:
        UserError: another type than those there are.
        WeightsError: a source that is damaged or of a kind that is not read.

    """
    if dtype not in DTYPES:
        raise UserError(f"dtype is '{dtype}'; it must be one of {', '.join(DTYPES)}. Set --dtype.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as scratch:
        whole = Path(scratch) / "read"
        whole.mkdir()
        find(source).write(whole)
        target = Path(scratch) / "written"
        save(load(whole), target, dtype=DTYPES[dtype])
        copy_beside(whole, target)
        shutil.move(target, folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
