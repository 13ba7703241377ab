"""Documents by their numbers in the whole, read from the folders of the parts."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from mainspring.data import same
from mainspring.data.assign import Place
from mainspring.data.part_files import DOCUMENTS, PLACES

NUM_OPEN = 64


class Numbered:
    """Finds the id and the signature of any document; a few parts are open at a time."""

    def __init__(self, folders: Sequence[Path], firsts: Sequence[int]) -> None:
        self._folders, self._firsts = list(folders), np.asarray(firsts, np.int64)
        self._documents = lru_cache(NUM_OPEN)(self._open_documents)
        self._rows = lru_cache(NUM_OPEN)(self._open_rows)

    def id_of(self, number: int) -> str:
        part, index = self._find(number)
        places, stream = self._documents(part)
        stream.seek(int(places[index]))
        return msgspec.json.decode(stream.readline(), type=Place).id

    def similarity(self, one: int, other: int, kind: str, width: int) -> float:
        """The part of the columns in which two signatures agree; of minima, that estimates what texts share."""
        rows = [self._rows(part, kind, width)[index] for part, index in map(self._find, (one, other))]
        return round(float(np.mean(rows[0] == rows[1])), 4)

    def _find(self, number: int) -> tuple[int, int]:
        """The part of a document and its number within it; empty parts begin where the next one does."""
        part = int(np.searchsorted(self._firsts, number, "right")) - 1
        return part, number - int(self._firsts[part])

    def _open_documents(self, part: int) -> tuple[np.ndarray, BinaryIO]:
        folder = self._folders[part]
        return np.fromfile(folder / PLACES, "<u8"), (folder / DOCUMENTS).open("rb")

    def _open_rows(self, part: int, kind: str, width: int) -> np.ndarray:
        return np.memmap(self._folders[part] / same.rows_file(kind), "<u8", "r").reshape(-1, width)
