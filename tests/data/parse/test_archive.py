import io
import struct
import time
import zipfile
import zlib

import pytest

from fakes_documents import LAUGHS, docx, with_part, zip_bomb
from mainspring.data.parse import parse
from mainspring.data.parse.archive import check_archive
from mainspring.data.parse.base import Raw
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError


def check(data, **limits):
    check_archive(Raw(data=data, name="d.docx", limits=ParseLimits(**limits)))


def overlapped(num_entries, kernel_bytes):
    """A small archive whose many entries are all the same stretch of it."""
    one = zip_bomb(kernel_bytes)
    at = one.index(b"PK\x01\x02")
    listing, size = one[at : one.index(b"PK\x05\x06")] * num_entries, num_entries
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, size, size, len(listing), at, 0)
    return one[:at] + listing + end


def test_an_office_file_is_intact():
    check(docx("Some words."))


def test_a_bomb_is_refused_before_anything_is_inflated():
    data, start = zip_bomb(), time.process_time()
    with pytest.raises(DocumentError, match="inflates to 1,000,000,000 bytes; 200,000,000 are the most"):
        check(data)
    assert time.process_time() - start < 1


def test_ten_kilobytes_that_overlap_into_a_gigabyte_are_refused():
    data = overlapped(num_entries=100, kernel_bytes=10_000_000)
    assert len(data) < 20_000
    with pytest.raises(DocumentError, match="inflates to 1,000,000,000 bytes"):
        check(data)


def test_an_archive_that_declares_less_than_it_holds_is_refused_without_inflating_the_rest():
    data = zip_bomb(100_000_000, declared_bytes=100)  # with the checksum that the first 100 bytes have
    with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("word/document.xml") as stream:
        assert stream.read() == bytes(100)  # which is why the library alone does not notice
    start = time.process_time()
    with pytest.raises(DocumentError, match=r"says that word/document\.xml has 100 bytes, and it has more"):
        check(data)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_entries": 3}, "files; 3 are the most"),
        ({"max_inflated_bytes": 1_000}, "1,000 are the most"),
    ],
)
def test_the_limits_are_settings(limits, reason):
    with pytest.raises(DocumentError, match=reason):
        check(docx("Some words."), **limits)


def test_a_large_archive_that_is_mostly_air_is_refused():
    with pytest.raises(DocumentError, match="times its size; 200 times are the most"):
        check(zip_bomb(20_000_000))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_billion_laughs_are_refused_in_every_encoding_of_xml(encoding):
    declared = LAUGHS.replace('version="1.0"', f'version="1.0" encoding="{encoding}"')
    data = with_part(docx("x"), "word/document.xml", declared.encode(encoding))
    with pytest.raises(DocumentError, match=r"defines a document type in word/document\.xml"):
        parse(data, "laughs.docx", "docx")


def test_a_document_type_is_found_where_two_pieces_meet():
    far = b"<?xml version='1.0'?>" + b" " * (65_536 - 25) + b"<!DOCTYPE a>"
    with pytest.raises(DocumentError, match="document type"):
        check(with_part(docx("x"), "word/other.xml", far))


def rewritten(flag=0, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("word/document.xml", "<a/>" * 10)
    data = bytearray(out.getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= flag
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "encrypted office file or one of the formats before 2007"),
        (b"no archive", "no intact office file"),
        (docx("x")[:-30], "no intact office file"),
        (docx("x").replace(b"word/document.xml", b"word/documenu.xml", 1), "no intact office file"),
        (rewritten(flag=1), "is encrypted"),
        (rewritten(method=zipfile.ZIP_BZIP2), r"not \(method 12\)"),
        (rewritten(method=zipfile.ZIP_LZMA), r"not \(method 14\)"),
    ],
    ids=["compound", "text", "truncated", "renamed", "encrypted", "bzip2", "lzma"],
)  # fmt: skip
def test_what_is_no_office_file_is_refused_with_its_reason(data, reason):
    with pytest.raises(DocumentError, match=reason):
        check(data)


def test_a_damaged_entry_is_found_by_its_checksum():
    data = bytearray(docx("Some words."))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = archive.getinfo("word/document.xml")
    middle = entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2
    data[middle] ^= 0xFF
    with pytest.raises(DocumentError, match=r"no intact office file|made to deceive"):
        check(bytes(data))
    with pytest.raises((zipfile.BadZipFile, zlib.error)), zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.read("word/document.xml")
