"""What an office file may be made of: a zip archive that is inflated here first, counted and bounded.

An archive is believed in nothing that it says of itself: sizes are declared by whoever wrote it, and the
libraries that read office files inflate each part as a whole.
"""

import copy
import io
import zipfile
import zlib
from collections.abc import Iterator

from mainspring.data.parse.base import Raw
from mainspring.errors import DocumentError

STEP_BYTES = 1 << 16
RATIO_FROM_BYTES = 10_000_000  # a small file may well be made of a few words, repeated
OLD_OFFICE = (
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # a compound file: .doc, .xls, .ppt, or an encrypted office file
)
IS_ENCRYPTED = 0x1  # a bit of an entry's flags
XML_SUFFIXES = (".xml", ".rels", ".vml")
# A document type is where entities are defined that expand to others; no office program writes one.
DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
LONGEST_DOCTYPE = max(map(len, DOCTYPES))


def check_archive(raw: Raw) -> None:
    """Inflate every entry once, a piece at a time, and keep nothing of it.

    Raises:
        DocumentError: no zip archive, an encrypted one, one over the limits, one that declares other sizes
            than it has, or XML with a document type.

    """
    if raw.data.startswith(OLD_OFFICE):
        raise DocumentError(
            f"{raw.name} is an encrypted office file or one of the formats before 2007; save it without a "
            "password as .docx, .pptx or .xlsx."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(raw.data)) as archive:
            _check_declared(raw, archive.infolist())
            for entry in archive.infolist():
                _check_entry(raw, archive, entry)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise DocumentError(
            f"{raw.name} is no intact office file ({error}); save it anew or leave it out."
        ) from error


def _check_declared(raw: Raw, entries: list[zipfile.ZipInfo]) -> None:
    limits = raw.limits
    if len(entries) > limits.max_entries:
        raise DocumentError(
            f"{raw.name} is made of {len(entries):,} files; {limits.max_entries:,} are the most. "
            "Leave it out, or raise the limit `max_entries`."
        )
    size_bytes = sum(entry.file_size for entry in entries)
    if size_bytes > limits.max_inflated_bytes:
        raise DocumentError(
            f"{raw.name} inflates to {size_bytes:,} bytes; {limits.max_inflated_bytes:,} are the most. "
            "Leave it out, or raise the limit `max_inflated_bytes`."
        )
    if size_bytes > RATIO_FROM_BYTES and size_bytes > limits.max_ratio * len(raw.data):
        raise DocumentError(
            f"{raw.name} inflates to {size_bytes // len(raw.data):,} times its size; {limits.max_ratio} times "
            "are the most. Leave it out, or raise the limit `max_ratio`."
        )
    for entry in entries:
        if entry.flag_bits & IS_ENCRYPTED:
            raise DocumentError(f"{raw.name} is encrypted; save it without a password.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DocumentError(
                f"{raw.name} is compressed in a way that office files are not (method {entry.compress_type}). "
                "Leave it out."
            )


def _check_entry(raw: Raw, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Inflate one entry and hold it to its word; since all words together are within the limit, so is it."""
    is_xml = entry.filename.lower().endswith(XML_SUFFIXES)
    size_bytes, end = 0, b""
    for piece in _inflate(archive, entry):
        size_bytes += len(piece)
        seen = end + piece
        if is_xml and any(mark in seen for mark in DOCTYPES):
            raise DocumentError(
                f"{raw.name} defines a document type in {entry.filename}, which no office program writes and "
                "which can make a few bytes expand to gigabytes. Leave it out."
            )
        end = seen[-LONGEST_DOCTYPE:]
        if size_bytes > entry.file_size:
            break
    if size_bytes != entry.file_size:
        raise DocumentError(
            f"{raw.name} says that {entry.filename} has {entry.file_size:,} bytes, and it has "
            f"{'more' if size_bytes > entry.file_size else 'fewer'}. It is damaged or made to deceive; leave it out."
        )


def _inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Pieces of what an entry really holds, a few more than it says: zipfile stops at the size it is told."""
    told = copy.copy(entry)
    told.file_size = entry.file_size + 2 * STEP_BYTES
    with archive.open(told) as stream:
        while piece := stream.read(STEP_BYTES):
            yield piece
