"""reStructuredText: headings by their underlines, directives dropped or opened, links reduced to their text.

Not a full parser: substitutions that stand for text are filled in, those that stand for images vanish.
"""

import re
from collections.abc import Callable

from mainspring.data.parse.base import Piece, dedent

ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*$")
DIRECTIVE = re.compile(r"\s*\.\. (?:\|([^|]+)\| )?([\w:+.-]+?)::(?:\s+(.*))?$")
TARGET = re.compile(r"\s*\.\. _(`?)(.+?)\1:(?:\s|$)")
ITEM = re.compile(r"\s*(?:[-*+•]|(?:\d{1,9}|#|[a-zA-Z])[.)]|\(\d+\))\s+\S")
TABLE_RULE = re.compile(r"\s*(?:\+(?:[-=]+\+)+|={2,}(?:\s+={2,})+)\s*$")

CODE_DIRECTIVES = {"code", "code-block", "sourcecode", "parsed-literal", "literalinclude", "math", "doctest"}
TABLE_DIRECTIVES = {"list-table", "csv-table", "table"}
DROPPED_DIRECTIVES = {
    "image", "figure", "raw", "contents", "include", "toctree", "highlight", "default-role", "role", "meta",
    "unicode", "index", "sectnum", "currentmodule", "module", "automodule", "autoclass", "autofunction",
    "target-notes",
}  # fmt: skip

LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
NAMED_LINK = re.compile(r"`([^`<>]+?)\s*<[^`>]*>`_{0,2}")
ROLE = re.compile(r":[\w:+.-]+:`(?:[^`<>]*?<?)?([^`<>]+)>?`")
ROLE_TITLE = re.compile(r":[\w:+.-]+:`([^`<>]+?)\s*<[^`>]*>`")
PHRASE = re.compile(r"`([^`]+)`(?:__|_)?")
REFERENCE = re.compile(r"(?<![\w`])([A-Za-z0-9](?:[\w.+-]*[A-Za-z0-9])?)_{1,2}(?![\w`])")
FOOTNOTE = re.compile(r"\s?\[(?:\d+|#\w*|\*)\]_")
SUBSTITUTION = re.compile(r"\|([^|\s](?:[^|\n]*[^|\s])?)\|_{0,2}")
STRONG = re.compile(r"\*\*(?=\S)(.{1,400}?)(?<=\S)\*\*", re.DOTALL)
EMPHASIS = re.compile(r"(?<![\w*\\])\*(?=[^\s*])([^*]+?)(?<=\S)\*(?![\w*])")


def pieces(text: str) -> list[Piece]:
    """Blocks of a reStructuredText in order, without markup."""
    lines = text.split("\n")
    targets = {found[2].casefold() for line in lines if (found := TARGET.match(line))}
    filled = {
        found[1]: (found[3] or "") if found[2] == "replace" else ""
        for line in lines
        if (found := DIRECTIVE.match(line)) and found[1]
    }
    return _Reader(lines, lambda raw: inline(raw, targets, filled), {}).read()


def inline(text: str, targets: set[str], filled: dict[str, str]) -> str:
    """Take roles, links and emphasis out of prose; the text of literals stays as it is."""
    codes: list[str] = []

    def hold(found: re.Match[str]) -> str:
        codes.append(found[1])
        return f"\ue000{len(codes) - 1}\ue001"

    text = LITERAL.sub(hold, text)
    text = ROLE.sub(r"\1", ROLE_TITLE.sub(r"\1", text))
    text = PHRASE.sub(r"\1", NAMED_LINK.sub(r"\1", text))
    text = FOOTNOTE.sub("", SUBSTITUTION.sub(lambda found: filled.get(found[1], found[0]), text))
    text = REFERENCE.sub(lambda found: found[1] if found[1].casefold() in targets else found[0], text)
    text = EMPHASIS.sub(r"\1", STRONG.sub(r"\1", text))
    text = re.sub(r"\\([^\w\s])", r"\1", text)
    return re.sub(r"\ue000(\d+)\ue001", lambda found: codes[int(found[1])], text)


class _Reader:
    """Walks over lines and collects blocks; `levels` counts the heading styles in the order they appear."""

    def __init__(self, lines: list[str], clean: Callable[[str], str], levels: dict[str, int]) -> None:
        self.lines = lines
        self.clean = clean
        self.levels = levels
        self.at = 0
        self.done: list[Piece] = []

    def read(self) -> list[Piece]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                self.at += 1
            elif line.lstrip().startswith("..") and re.match(r"\s*\.\.(\s|$)", line):
                self._explicit(line)
            elif self._heading(line):
                continue
            elif line.lstrip().startswith(">>> "):
                self.done.append(Piece(kind="code", text="\n".join(dedent(self._until_blank()))))
            elif TABLE_RULE.match(line):
                self._table()
            else:
                self._prose()
        return self.done

    def _explicit(self, line: str) -> None:
        """A directive, a comment or a target; its body is what stands deeper than it."""
        indent = len(line) - len(line.lstrip())
        found = DIRECTIVE.match(line)
        self.at += 1
        body = self._deeper(indent)
        if found is None or found[1] or found[2] in DROPPED_DIRECTIVES:
            return
        while body and (re.match(r"\s*:[\w-]+:", body[0]) or not body[0].strip()):
            body.pop(0)
        if found[2] in CODE_DIRECTIVES:
            self.done.append(Piece(kind="code", text="\n".join(dedent(body))))
        elif found[2] in TABLE_DIRECTIVES:
            self.done.append(Piece(kind="table", text=self.clean("\n".join(dedent(body)))))
        else:
            inner = [found[3] or "", *dedent(body)]
            self.done += _Reader(inner, self.clean, self.levels).read()

    def _heading(self, line: str) -> bool:
        following = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        after = self.lines[self.at + 2] if self.at + 2 < len(self.lines) else ""
        is_over = ADORNMENT.match(line) and after.strip() == line.strip() and following.strip()
        if is_over:
            title, style, self.at = following, f"over{line.strip()[0]}", self.at + 3
        elif ADORNMENT.match(line) or TABLE_RULE.match(line):
            if TABLE_RULE.match(line):
                return False
            self.at += 1  # a transition
            return True
        elif not line.startswith(" ") and ADORNMENT.match(following) and len(following.strip()) >= 3:
            if len(following.strip()) < len(line.strip()) - 2:
                return False
            title, style, self.at = line, following.strip()[0], self.at + 2
        else:
            return False
        level = self.levels.setdefault(style, len(self.levels) + 1)
        self.done.append(Piece(kind="heading", text=self.clean(title.strip()), level=level))
        return True

    def _table(self) -> None:
        rows = self._until_blank()
        if not TABLE_RULE.match(rows[-1]):  # a simple table may hold blank lines
            while self.at < len(self.lines) and not TABLE_RULE.match(self.lines[self.at - 1]):
                rows.append(self.lines[self.at])
                self.at += 1
        kept = [row for row in rows if not TABLE_RULE.match(row)]
        self.done.append(Piece(kind="table", text=self.clean("\n".join(kept))))

    def _prose(self) -> None:
        """A paragraph or a list; one that ends in two colons announces code."""
        first = self.lines[self.at]
        is_list = bool(ITEM.match(first))
        lines = self._list() if is_list else self._until_blank()
        indent = len(lines[-1]) - len(lines[-1].lstrip())
        announces = lines[-1].rstrip().endswith("::")
        if announces:
            lines[-1] = lines[-1].rstrip()[:-1] if lines[-1].strip() != "::" else ""
        text = re.sub(r"^\|(?: |$)", "", "\n".join(lines), flags=re.MULTILINE)  # line blocks
        self.done.append(Piece(kind="list" if is_list else "paragraph", text=self.clean(text)))
        if announces:
            self.done.append(Piece(kind="code", text="\n".join(dedent(self._deeper(indent)))))

    def _list(self) -> list[str]:
        lines = [self.lines[self.at]]
        base = len(lines[0]) - len(lines[0].lstrip())
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            following = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
            near = line if line.strip() else following
            deep = len(near) - len(near.lstrip()) > base
            if not near.strip() or not (deep or ITEM.match(near)) or lines[-1].rstrip().endswith("::"):
                break
            if re.match(r"\s*\.\.\s", near):
                break
            lines += [line] if line.strip() else []
            self.at += 1
        return lines

    def _until_blank(self) -> list[str]:
        lines = []
        while self.at < len(self.lines) and self.lines[self.at].strip():
            if lines and re.match(r"\s*\.\.\s", self.lines[self.at]):
                break
            lines.append(self.lines[self.at])
            self.at += 1
        return lines

    def _deeper(self, indent: int) -> list[str]:
        body: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and len(line) - len(line.lstrip()) <= indent:
                break
            body.append(line)
            self.at += 1
        return body
