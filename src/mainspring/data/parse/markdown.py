"""Markdown, as it is written in the wild: with HTML, badges, reference links and fenced code.

Line by line into blocks, then the inline markup of each block is taken out. Not a full CommonMark parser:
nested lists stay one block, and a table's cells stay in their rows, because retrieval needs the words and
their places.
"""

import html
import re
from collections.abc import Callable

from mainspring.data.parse.base import Piece, dedent

FENCE = re.compile(r"(\s*)(`{3,}|~{3,})")
ATX = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$")
HTML_HEADING = re.compile(r"\s*<h([1-6])\b[^>]*>(.*?)</h\1>\s*$", re.IGNORECASE | re.DOTALL)
SETEXT = re.compile(r" {0,3}(=+|-{2,})\s*$")
BREAK = re.compile(r" {0,3}([-*_])(?:\s*\1){2,}\s*$")
DEFINITION = re.compile(r" {0,3}\[([^\]^]+)\]:\s*\S")
ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+\S")
TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-*:?\s*)*$")
FRONT_MATTER = re.compile(r"---\n(?:[\w-]+:.*\n|[ -].*\n)+---\n")

CODE_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
URL = r"\(\s*(?:<[^>]*>|(?:[^()\s]|\([^()]*\))*)(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)"
IMAGE = re.compile(rf"!\[(?:[^\[\]]|\[[^\]]*\])*\](?:{URL}|\[[^\]]*\])")
EMPTY_LINK = re.compile(rf"\[\s*\](?:{URL}|\[[^\]]*\])")
LINK = re.compile(rf"\[((?:[^\[\]]|\[[^\[\]]*\])+)\](?:{URL}|\[[^\]]*\])")
AUTOLINK = re.compile(r"<((?:https?|ftp|mailto):[^\s<>]+)>")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]\w*);")
STRONG = re.compile(r"(\*\*|(?<!\w)__)(?=\S)(.{1,400}?)(?<=\S)\1(?!\w)", re.DOTALL)
EMPHASIS = re.compile(r"(?<![\w*_\\])([*_])(?=[^\s*_])([^*_]+?)(?<=\S)\1(?![\w*_])")
ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def pieces(text: str) -> list[Piece]:
    """Blocks of a Markdown text in order, without markup."""
    text = FRONT_MATTER.sub("", text, count=1) if text.startswith("---\n") else text
    lines = _strip_comments(text.split("\n"))
    defined = {found[1].casefold() for line in lines if (found := DEFINITION.match(line))}
    return _Reader(lines, lambda raw: inline(raw, defined)).read()


def inline(text: str, defined: set[str]) -> str:
    """Take images, links, tags and emphasis out of prose; the text of code spans stays as it is."""
    parts: list[str] = []
    codes: list[str] = []

    def hold(found: re.Match[str]) -> str:
        codes.append(found[2].strip() or found[2])
        return f"\ue000{len(codes) - 1}\ue001"

    text = CODE_SPAN.sub(hold, text)
    text = EMPTY_LINK.sub("", IMAGE.sub("", text))
    text = AUTOLINK.sub(r"\1", LINK.sub(r"\1", text))
    text = re.sub(
        r"\[([^\[\]]+)\]", lambda found: found[1] if found[1].casefold() in defined else found[0], text
    )
    text = TAG.sub("", re.sub(r"<br\s*/?>", "\n", text, flags=re.IGNORECASE))
    text = EMPHASIS.sub(r"\2", STRONG.sub(r"\2", text))
    text = ENTITY.sub(lambda found: html.unescape(found[0]), ESCAPE.sub(r"\1", text))
    parts.append(re.sub(r"\ue000(\d+)\ue001", lambda found: codes[int(found[1])], text))
    return "".join(parts)


def _strip_comments(lines: list[str]) -> list[str]:
    """Lines without HTML comments, except in fenced code."""
    kept: list[str] = []
    fence, is_comment = "", False
    for line in lines:
        found = FENCE.match(line)
        if not is_comment and found and (not fence or found[2].startswith(fence)):
            fence = "" if fence else found[2]
        if fence:
            kept.append(line)
            continue
        rest, shown = line, ""
        while rest:
            before, mark, rest = rest.partition("-->" if is_comment else "<!--")
            shown += "" if is_comment else before
            is_comment = is_comment != bool(mark)
        if shown.strip() or not line.strip():
            kept.append(shown)
    return kept


class _Reader:
    """Walks over lines and collects blocks."""

    def __init__(self, lines: list[str], clean: Callable[[str], str]) -> None:
        self.lines = lines
        self.clean = clean
        self.at = 0
        self.open: list[str] = []
        self.done: list[Piece] = []

    def read(self) -> list[Piece]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if fence := FENCE.match(line):
                self._fenced(fence)
            elif not line.strip():
                self._blank()
            elif not self.open and line.startswith("    "):
                self._indented()
            elif self._heading(line) or self._table(line):
                continue
            else:
                self._prose(line)
        self._close()
        return self.done

    def _fenced(self, fence: re.Match[str]) -> None:
        self._close()
        mark, body = fence[2], []
        self.at += 1
        while self.at < len(self.lines) and not self.lines[self.at].strip().startswith(mark):
            body.append(self.lines[self.at])
            self.at += 1
        self.at += 1
        self.done.append(Piece(kind="code", text="\n".join(dedent(body))))

    def _indented(self) -> None:
        body = []
        while self.at < len(self.lines) and (
            not self.lines[self.at].strip() or self.lines[self.at].startswith("    ")
        ):
            body.append(self.lines[self.at])
            self.at += 1
        if self.done and self.done[-1].kind == "list":
            self.done.append(Piece(kind="paragraph", text=self.clean("\n".join(dedent(body)))))
        else:
            self.done.append(Piece(kind="code", text="\n".join(dedent(body))))

    def _heading(self, line: str) -> bool:
        if found := ATX.match(line):
            self._close()
            self.done.append(Piece(kind="heading", text=self.clean(found[2] or ""), level=len(found[1])))
        elif self.open and not ITEM.match(self.open[0]) and (found := SETEXT.match(line)):
            text, self.open = " ".join(self.open), []
            self.done.append(Piece(kind="heading", text=self.clean(text), level=1 if "=" in found[1] else 2))
        elif BREAK.match(line) or DEFINITION.match(line):
            self._close()
        else:
            return False
        self.at += 1
        return True

    def _table(self, line: str) -> bool:
        following = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        if "|" not in line or "|" not in following or not TABLE_RULE.match(following):
            return False
        self._close()
        rows = []
        while self.at < len(self.lines) and "|" in self.lines[self.at]:
            if not TABLE_RULE.match(self.lines[self.at]):
                rows.append(self.lines[self.at])
            self.at += 1
        self.done.append(Piece(kind="table", text=self.clean("\n".join(rows))))
        return True

    def _prose(self, line: str) -> None:
        line = re.sub(r"^(\s*>)+ ?(\[![A-Z]+\]\s*$)?", "", line)
        if ITEM.match(line) and self.open and not ITEM.match(self.open[0]):
            self._close()
        self.open.append(line)
        self.at += 1

    def _blank(self) -> None:
        """A blank line ends a block, but not a list that goes on after it."""
        self.at += 1
        following = self.lines[self.at] if self.at < len(self.lines) else ""
        goes_on = ITEM.match(following) or re.match(r" {2,}\S", following)
        if not (self.open and ITEM.match(self.open[0]) and goes_on and not FENCE.match(following)):
            self._close()

    def _close(self) -> None:
        if not self.open:
            return
        raw, kind = "\n".join(self.open), "list" if ITEM.match(self.open[0]) else "paragraph"
        self.open = []
        if found := HTML_HEADING.match(raw):
            self.done.append(Piece(kind="heading", text=self.clean(found[2]), level=int(found[1])))
        else:
            self.done.append(Piece(kind=kind, text=self.clean(raw)))
