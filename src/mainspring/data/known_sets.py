"""The texts of every evaluation set that a workspace knows: what training must not contain.

An evaluation set is an `evaluation` artifact, a `dataset` artifact that bears the label `evaluation`, or a
file of gold questions. All of them hold JSON lines; of each line, the question, the answer, both together, the
text and the messages count. A quote does not: it is the stored document's own text. Questions that are there
to be learnt from (`"split": "train"`) do not count, either.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mainspring.errors import DocumentError
from mainspring.registry import Registry

LABEL = "evaluation"
FIELDS = ("question", "answer", "prompt", "text")


def known_sets(registry: Registry, gold_files: Iterable[Path] = ()) -> Iterator[tuple[str, str]]:
    """(name, text) of all evaluation texts; a name is `set#item`.

    Raises:
        DocumentError: a line of a file that is not JSON; the file and the line are named.

    """
    for reference in (*registry.list("evaluation"), *_labelled(registry)):
        if registry.has(reference):  # its folder may have been removed by hand
            folder = registry.folder(registry.get(reference, verify=True))
            documents = folder / "documents"  # beside them a built dataset keeps what it dropped
            for path in sorted((documents if documents.is_dir() else folder).glob("*.jsonl")):
                yield from read_set(path, reference)
    for path in gold_files:
        yield from read_set(path, path.name)


def read_set(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """(name#item, text) of every text in a file of JSON lines."""
    number = 0
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    row = decode(line)
                    yield from ((f"{name}#{row.get('id', number)}", text) for text in texts_of(row))
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error}. Give a file of JSON lines.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"Line {number} of {path} is not a JSON object: {error}. Repair it, or leave the file out: what it "
            "asks cannot be kept out of training otherwise."
        ) from error


def texts_of(row: dict[str, Any]) -> Iterator[str]:
    """The texts of one line that a model must not have seen."""
    if row.get("split") == "train":
        return
    texts = [row[field] for field in FIELDS if isinstance(row.get(field), str)]
    yield from texts
    if len(texts) > 1:
        yield " ".join(texts)  # both may be too short to be looked for alone
    messages = row.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and isinstance(message.get("content"), str):
            yield message["content"]


def _labelled(registry: Registry) -> Iterator[str]:
    for reference in registry.list("dataset"):
        name, _, version = reference.removeprefix("dataset/").partition("@")
        if registry.labelled("dataset", name, LABEL) == int(version):
            yield reference
