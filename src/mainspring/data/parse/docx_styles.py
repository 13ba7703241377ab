"""What the styles and the numbering of a DOCX say of a paragraph: a heading, code, an item and its number."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
VALUE = f"{WORD}val"
HEADING = re.compile(r"heading\s*(\d)", re.IGNORECASE)
CODE = re.compile(r"(?:source )?code|html preformatted|macro text", re.IGNORECASE)
NUM_LEVELS = 9
BULLET_FORMATS = {"bullet", "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """`level` is that of a heading, 0 for other text; `numbering` is the list that the style is of."""

    level: int = 0
    is_code: bool = False
    numbering: tuple[str, int] | None = None


class Styles:
    """The paragraph styles of a document by their ids; what a style does not say, the one below it does."""

    def __init__(self, document: Any) -> None:
        self.elements = {
            style.get(f"{WORD}styleId"): style for style in document.styles.element.iter(f"{WORD}style")
        }
        self.known: dict[str, Style] = {}
        self.has_title = any(
            self._name(_value(paragraph, "pPr/pStyle")) == "title"
            for paragraph in document.element.body.iter(f"{WORD}p")
        )

    def of(self, paragraph: Any) -> Style:
        """The style of a paragraph; an outline level that the paragraph itself sets goes before."""
        own = _value(paragraph, "pPr/outlineLvl")
        identity = _value(paragraph, "pPr/pStyle") or ""
        if identity not in self.known:
            self.known[identity] = self._resolve(identity)
        style = self.known[identity]
        if own is not None and not style.level:
            return Style(level=self._level(int(own) + 1), is_code=style.is_code, numbering=style.numbering)
        return style

    def _resolve(self, identity: str) -> Style:
        level, is_code, numbering, seen = 0, False, None, set()
        while identity in self.elements and identity not in seen:
            seen.add(identity)
            element, name = self.elements[identity], self._name(identity)
            outline = _value(element, "pPr/outlineLvl")
            if not level and name == "title":
                level = 1
            elif not level and (found := HEADING.fullmatch(name)):
                level = self._level(int(found[1]))
            elif not level and outline is not None:
                level = self._level(int(outline) + 1)
            is_code = is_code or CODE.fullmatch(name) is not None
            numbering = numbering or _numbering(element)
            identity = _value(element, "basedOn") or ""
        return Style(level=level, is_code=is_code, numbering=numbering)

    def _name(self, identity: str | None) -> str:
        element = self.elements.get(identity)
        return "" if element is None else (_value(element, "name") or "").lower()

    def _level(self, written: int) -> int:
        """The document's title stands above all headings."""
        return 0 if written > NUM_LEVELS else written + self.has_title


@dataclass(slots=True)
class _List:
    """A numbered list: (format, text, start) of its levels, and how far it has counted."""

    levels: dict[int, tuple[str, str, int]]
    counts: Counter[int] = field(default_factory=Counter)


class Numbering:
    """Counts as Word does, so that an item is called what its readers call it: "2.1"."""

    def __init__(self, document: Any) -> None:
        self.lists: dict[str, _List] = {}
        try:
            root = document.part.numbering_part.element
        except (KeyError, NotImplementedError):  # a document without lists has no such part
            return
        kinds = {
            kind.get(f"{WORD}abstractNumId"): _List(_levels(kind)) for kind in root.iter(f"{WORD}abstractNum")
        }
        for number in root.iter(f"{WORD}num"):
            kind = kinds.get(_value(number, "abstractNumId"))
            if kind is not None:
                is_restarted = next(number.iter(f"{WORD}startOverride"), None) is not None
                self.lists[number.get(f"{WORD}numId")] = _List(kind.levels) if is_restarted else kind

    def label(self, paragraph: Any, style: Style) -> tuple[str, int]:
        """The number or bullet before a paragraph, "" if it is no item, and how deep it stands."""
        identity, depth = _numbering(paragraph) or style.numbering or ("0", 0)
        found = self.lists.get(identity)
        if found is None or depth not in found.levels:
            return "", 0
        kind, text, start = found.levels[depth]
        found.counts[depth] = found.counts.get(depth, start - 1) + 1
        for deeper in [level for level in found.counts if level > depth]:
            del found.counts[deeper]
        if kind in BULLET_FORMATS:
            return "-", depth
        label = re.sub(r"%(\d)", lambda part: self._number(found, int(part[1]) - 1), text)
        return label.strip(), depth

    def _number(self, found: _List, level: int) -> str:
        kind, _, start = found.levels.get(level, ("decimal", "", 1))
        count = found.counts.get(level, start)
        if kind in ("lowerLetter", "upperLetter"):
            letter = "abcdefghijklmnopqrstuvwxyz"[(count - 1) % 26] * ((count - 1) // 26 + 1)
            return letter if kind == "lowerLetter" else letter.upper()
        return str(count)


def _levels(kind: Any) -> dict[int, tuple[str, str, int]]:
    return {
        int(level.get(f"{WORD}ilvl")): (
            _value(level, "numFmt") or "decimal",
            _value(level, "lvlText") or "",
            int(_value(level, "start") or 1),
        )
        for level in kind.iter(f"{WORD}lvl")
    }


def _numbering(element: Any) -> tuple[str, int] | None:
    """(list, level) that a paragraph or a style names; the list "0" means none."""
    identity = _value(element, "pPr/numPr/numId")
    if identity is None:
        return None
    return identity, int(_value(element, "pPr/numPr/ilvl") or 0)


def _value(element: Any, path: str) -> str | None:
    """The value of the element at a path below `element`, None where there is none."""
    found = element.find("/".join(f"{WORD}{name}" for name in path.split("/")))
    return None if found is None else found.get(VALUE)
