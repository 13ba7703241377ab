"""Records as JSON lines: a file, or those of a dataset in the registry."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainspring import artifact as artifacts
from mainspring.errors import NotFoundError, UserError
from mainspring.registry import Registry
from mainspring.schema import Message
from mainspring.train.review import LESSONS, check_reviewed

Record = Mapping[str, Any]


def read_records(registry: Registry, dataset: str) -> list[Record]:
    """Every line of a `.jsonl` file or of a dataset's lessons.

    Raises:
        NotFoundError: there is no such file, or the dataset holds no lessons.
        UserError: a line that is no JSON object, with its number.

    """
    path = Path(dataset)
    if path.suffix == ".jsonl":
        if not path.is_file():
            raise NotFoundError(f"There is no file {path} to learn from. Check the path in `data.dataset`.")
    else:
        found = registry.get(dataset)
        artifacts.check(found, registry.folder(found))
        check_reviewed(registry, found)
        path = registry.folder(found) / LESSONS
        if not path.is_file():
            raise NotFoundError(
                f"{found.reference} holds no {LESSONS}. Give a dataset of lessons or a .jsonl file; a dataset of token "
                "shards is learnt with `data.kind=documents`."
            )
    return list(_lines(path))


def messages_of(record: Record, key: str, name: str) -> list[Message]:
    """The conversation under a key of a record; a plain text is an answer.

    Raises:
        UserError: the key is missing, or what it holds is no conversation.

    """
    value = record.get(key)
    if isinstance(value, str):
        value = [{"role": "assistant", "content": value}]
    try:
        return msgspec.convert(value, list[Message])
    except msgspec.ValidationError as error:
        raise UserError(
            f"{name} has no conversation under '{key}' ({error}; its keys: {', '.join(record)}). It must be a list of "
            '{"role": ..., "content": ...}.'
        ) from error


def _lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise UserError(f"Line {number} of {path} is no JSON object: {error}.") from error
