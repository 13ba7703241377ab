"""Bytes to characters without guessing: a byte order mark, a declaration, or UTF-8."""

import codecs
import re

from mainspring.errors import DocumentError

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
HEAD_BYTES = 2_048  # where a page must declare its encoding, with some room
DECLARED = re.compile(rb"<meta\b[^>]*?charset\s*=\s*[\"']?\s*([\w.:+-]+)", re.IGNORECASE)
XML_DECLARED = re.compile(rb"\s*<\?xml\b[^>]*?encoding\s*=\s*[\"']([\w.:+-]+)", re.IGNORECASE)
# What browsers take a label for: https://encoding.spec.whatwg.org/#names-and-labels
WIDER = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",
}  # fmt: skip
READ = re.compile(
    r"utf-8|cp125\d|cp8(?:66|74)|cp932|cp949|iso8859-\d+|koi8-[ru]|gb18030|big5hkscs|euc_jp|iso2022_jp"
    r"|mac-(?:roman|cyrillic)"
)


def characters(data: bytes, name: str, declared: str = "") -> str:
    """The characters of `data`: after a byte order mark, in the `declared` encoding, or in UTF-8.

    Raises:
        DocumentError: bytes that the encoding does not have, NUL characters, an encoding that is not read.

    """
    marked = next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), None)
    encoding = marked or (_known(declared, name) if declared else "utf-8")
    if marked != "utf-16" and b"\0" in data:
        raise DocumentError(
            f"{name} is binary (it holds NUL bytes); text in UTF-8 is expected. Leave it out."
        )
    called = encoding.removesuffix("-sig").upper()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"{name} is not {called} text (byte {error.start:,} is 0x{data[error.start]:02X}); "
            "convert it to UTF-8 or leave it out."
        ) from error
    if "\0" in text:
        raise DocumentError(f"{name} is binary ({called} text with NUL characters in it). Leave it out.")
    return text


def declared_by_page(data: bytes) -> str:
    """The encoding that a page of HTML or XHTML declares, or ""."""
    head = data[:HEAD_BYTES]
    found = XML_DECLARED.match(head) or DECLARED.search(head)
    return found[1].decode("ascii") if found else ""


def _known(label: str, name: str) -> str:
    """The encoding that a label stands for, if it is one of text."""
    try:
        canonical = codecs.lookup(label).name
    except LookupError:
        canonical = label
    encoding = WIDER.get(canonical, canonical)
    if READ.fullmatch(encoding) is None:
        raise DocumentError(
            f"{name} declares the encoding '{label}', which is not read; convert it to UTF-8 or leave it out."
        )
    return encoding
