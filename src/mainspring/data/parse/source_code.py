"""Source code: the file as it is, its blocks ending where one definition ends and the next begins.

The text is kept character for character, tabs and blank lines too, since a model may learn from it.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

from mainspring.data.parse.base import Block, Parsed, Raw, check_characters, uniform_lines
from mainspring.data.parse.encoding import characters
from mainspring.errors import DocumentError

LANGUAGES = {
    ".py": "Python", ".pyi": "Python", ".js": "JavaScript", ".mjs": "JavaScript", ".jsx": "JavaScript",
    ".ts": "TypeScript", ".tsx": "TypeScript", ".java": "Java", ".kt": "Kotlin", ".scala": "Scala",
    ".c": "C", ".h": "C", ".cc": "C++", ".cpp": "C++", ".hpp": "C++", ".cs": "C#", ".go": "Go", ".rs": "Rust",
    ".swift": "Swift", ".rb": "Ruby", ".php": "PHP", ".pl": "Perl", ".lua": "Lua", ".r": "R", ".jl": "Julia",
    ".hs": "Haskell", ".sh": "Shell", ".sql": "SQL",
}  # fmt: skip
BEGINS = re.compile(r"[^\s)\]};]")  # a line at the left edge that opens something, not one that closes it


def read(raw: Raw) -> Parsed:
    """A source file; it is called by its name and its language."""
    text = uniform_lines(characters(raw.data, raw.name)).strip("\n")
    if not text.strip():
        raise DocumentError(f"{raw.name} is empty; give it some text or leave it out.")
    check_characters(text, raw.name)
    path = PurePosixPath(raw.name)
    language = LANGUAGES.get(path.suffix.lower(), "source code")
    lines = text.split("\n")
    starts = _python_starts(text) if language == "Python" else None
    blocks = tuple(_blocks(lines, starts if starts is not None else _starts(lines)))
    return Parsed(title=f"{path.name} ({language})", text=text, blocks=blocks)


def _python_starts(text: str) -> list[int] | None:
    """The lines where a definition or what follows one begins, from 0; None for what does not compile."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    starts, was_definition = [], True
    for node in body:
        is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        decorators = (
            node.decorator_list
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            else []
        )
        if is_definition or was_definition:
            starts.append(min([node.lineno, *(each.lineno for each in decorators)]) - 1)
        was_definition = is_definition
    return starts


def _starts(lines: list[str]) -> list[int]:
    """The lines at the left edge that follow a blank one."""
    return [n for n in range(1, len(lines)) if BEGINS.match(lines[n]) and not lines[n - 1].strip()]


def _blocks(lines: list[str], starts: list[int]) -> Iterator[Block]:
    """Blocks from each start to the next, without the blank lines between; comments go with what follows."""
    edges = sorted({0, len(lines), *(_above(lines, start) for start in starts)})
    places = [0]
    for line in lines:
        places.append(places[-1] + len(line) + 1)
    for first, end in pairwise(edges):
        while end > first and not lines[end - 1].strip():
            end -= 1  # noqa: PLW2901 - the blank lines at the end
        while first < end and not lines[first].strip():
            first += 1  # noqa: PLW2901 - and at the start
        if first < end:
            yield Block(kind="code", start=places[first], end=places[end] - 1, heading_path=())


def _above(lines: list[str], start: int) -> int:
    """The first of the comments that stand right above a line."""
    while start > 0 and lines[start - 1].lstrip().startswith(("#", "//", "--", "/*", "*")):
        start -= 1
    return start
