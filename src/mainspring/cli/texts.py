"""The texts that several verbs learn from: documents of folders and files, by language."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from mainspring.errors import DocumentError

Paths = Annotated[list[Path], typer.Argument(help="Folders and files of documents.")]


def read_texts(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """(language, text) of every document; what cannot be read is passed over, saying so.

    In a folder, the texts of a subfolder `xy/` are taken to be of the language xy.
    """
    from mainspring.data.parse.base import MAX_BYTES
    from mainspring.data.sources import Rejected, given

    for path in paths:
        for source in given(path):
            if isinstance(source, Rejected):
                typer.echo(f"passed over: {source.name}: {source.reason}", err=True)
                continue
            language, slash, _ = source.name.partition("/")
            try:
                text = source.parse(source.read(MAX_BYTES), MAX_BYTES).text
            except DocumentError as error:
                typer.echo(f"passed over: {error}", err=True)
                continue
            yield language if slash else "all", text
