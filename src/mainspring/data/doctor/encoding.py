"""Text that was decoded wrongly: "cafÃ©" for "café", characters that stand for lost bytes, control characters.

A line is mojibake if all of it, written in Windows-1252, is UTF-8 again, and it holds what hardly occurs in
real text: a pair such as "Ã©" or "â€™", or two such sequences of any kind. French quotes after an accent and
other rare pairs of real text are spared by that. ftfy repairs what is found here (the rule `unicode`).
"""

import re
from collections.abc import Iterator

from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import View

LOST = re.compile("[\ufffd\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
HIGH = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xC0))
QUOTES = "\u201c\u201d\u2018\u2019\u00ab\u00bb\u00a0"  # they stand behind letters in real text, too
SURE = re.compile(f"[ÃÂÐÑ][{re.escape(''.join(set(HIGH) - set(QUOTES)))}]|â€[{re.escape(HIGH)}]|ðŸ|Â\u00a0")
ANY = re.compile(f"[Â-ß][{re.escape(HIGH)}]|[à-ï][{re.escape(HIGH)}]{{2}}|[ð-ô][{re.escape(HIGH)}]{{3}}")
MIN_ANY = 2
MAX_SHARE = 0.001  # of a document's characters: a single lost one in a long text is no fault of the reading
ADVICE = (
    "Read the source in its own encoding, or add the rule `unicode` to the recipe, which repairs what it can."
)


class WrongEncoding:
    """More than one character in a thousand is lost or part of mojibake."""

    name = "wrong_encoding"

    def __call__(self, view: View) -> Iterator[Fault]:
        tally = Tally(self.name, view.unit)
        for split, place, text in view.each_text():
            is_faulty = not text.isascii() or LOST.search(text) is not None
            tally.see(split, place, is_faulty=is_faulty and num_wrong(text) > MAX_SHARE * len(text))
        yield from tally.faults("its characters are not those that were written", ADVICE)


def num_wrong(text: str) -> int:
    """Characters that are lost or part of mojibake."""
    return len(LOST.findall(text)) + sum(map(_num_mojibake, filter(None, text.splitlines())))


def _num_mojibake(line: str) -> int:
    if line.isascii():
        return 0
    found = [match.group() for match in ANY.finditer(line)]
    if not SURE.search(line) and len(found) < MIN_ANY:
        return 0
    return sum(map(len, found)) if _is_utf8_again(line) else 0


def _is_utf8_again(line: str) -> bool:
    """Whether the characters of a line are the bytes of UTF-8, as Windows-1252 or Latin-1 shows bytes."""
    written = bytearray()
    for character in line:
        try:
            written += character.encode("cp1252")
        except UnicodeEncodeError:
            if not "\x80" <= character <= "\x9f":
                return False
            written.append(ord(character))
    try:
        written.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # the line was cut within a character
    return True
