"""What a host lets robots fetch. RFC 9309: the longest rule that fits decides, and `*` and `$` are known."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

MAX_BYTES = 512_000  # RFC 9309, 2.5: at least 500 KiB are read
ASCII = "".join(map(chr, range(33, 127)))
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Robots:
    """The rules for one robot: (is allowed, pattern of a path), and the seconds between two fetches."""

    rules: tuple[tuple[bool, str], ...] = ()
    delay_s: float = 0.0

    def allows(self, path: str) -> bool:
        """Whether a path with its query may be fetched; of rules of one length the kinder one holds."""
        if path.partition("?")[0] == "/robots.txt":
            return True
        path = _normal(path)
        fitting = [(len(pattern), allowed) for allowed, pattern in self.rules if _fits(pattern, path)]
        return max(fitting, default=(0, True))[1]


NOTHING = Robots(rules=((False, "/"),))
EVERYTHING = Robots()


def read_robots(data: bytes, agent: str) -> Robots:
    """The rules of a robots.txt for the robot called `agent`: all groups that name it, else those for `*`."""
    groups = list(_groups(data[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")))
    mine = [lines for names, lines in groups if agent.lower() in names]
    lines = [line for group in mine or [lines for names, lines in groups if "*" in names] for line in group]
    delays = [
        float(value)
        for key, value in lines
        if key == "crawl-delay" and re.fullmatch(r"\d{1,9}(\.\d+)?", value)
    ]
    rules = tuple(
        (key == "allow", _normal(value)) for key, value in lines if key in ("allow", "disallow") and value
    )
    return Robots(rules=rules, delay_s=max(delays, default=0.0))


def product(agent: str) -> str:
    """The name by which a user agent is called in robots.txt: its letters before a version or a remark."""
    found = re.match(r"[A-Za-z_-]+", agent)
    return found[0] if found else agent


def _groups(text: str) -> Iterator[tuple[Sequence[str], list[tuple[str, str]]]]:
    """(names of robots, their lines); names that follow one another share what comes behind."""
    names: list[str] = []
    lines: list[tuple[str, str]] = []
    for line in text.splitlines():
        key, colon, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            if lines:
                yield names, lines
                names, lines = [], []
            names.append("*" if value == "*" else product(value).lower())
        elif key in ("allow", "disallow", "crawl-delay"):
            lines.append((key, value))
    yield names, lines


def _normal(path: str) -> str:
    """Percent escapes in one form, so that `/%61` and `/a` are the same, and `/%2f` and `/%2F`."""

    def one_form(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        return character if UNRESERVED.fullmatch(character) else found[0].upper()

    return ESCAPE.sub(one_form, quote(path, safe=ASCII))


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern fits the beginning of a path, or all of it where it ends in `$`.

    Piece by piece and not as a regular expression, which a hostile pattern could make slow.
    """
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    last = others.pop() if others and pattern.endswith("$") else None
    for piece in others:
        at = path.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    if last is not None:
        return len(path) - at >= len(last) and path.endswith(last)
    return at == len(path) or not pattern.endswith("$")
