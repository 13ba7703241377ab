"""Small real files of every format, whole and broken, as their libraries or a few lines write them."""

import io
import struct
import zipfile
import zlib
from email.message import EmailMessage

BODY, LARGE = 10, 18  # sizes of fonts in the PDFs


def pdf(*pages, more=b"", trailer=b""):
    """A PDF of pages; a page is lines (size, x, y, text) in Helvetica."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, lines in enumerate(pages):
        drawn = b"".join(
            b"BT /F1 %d Tf %d %d Td (" % (size, x, y) + escape(text).encode("cp1252") + b") Tj ET\n"
            for size, x, y, text in lines
        )
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * number),
            b"<< /Length %d >>\nstream\n" % len(drawn) + drawn + b"endstream",
        ]
    return pdf_file([*objects, more] if more else objects, trailer)


def escape(text):
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def pdf_file(objects, trailer=b""):
    """A PDF file of its numbered objects, the first one the catalog."""
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return (
        out + b"xref\n0 %d\n0000000000 65535 f \n" % size + rows
        + b"trailer\n<< /Size %d /Root 1 0 R " % size + trailer + b">>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    )  # fmt: skip


def column(text, *, y=700, size=BODY, x=50, leading=12):
    """Lines of text one below the other."""
    return [(size, x, y - leading * number, line) for number, line in enumerate(text.split("\n"))]


def encrypted_pdf():
    """A PDF that wants a password: what it says of its key fits none."""
    lock = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >>"
    )
    return pdf(column("Secret."), trailer=lock + b" /ID [<" + b"43" * 16 + b"> <" + b"43" * 16 + b">] ")


def saved(document):
    """The bytes of a document of python-docx, python-pptx or openpyxl."""
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def docx(*paragraphs):
    import docx as library

    document = library.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    return saved(document)


def xlsx(rows, title="Sheet"):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    return saved(book)


def pptx(*slides):
    """Slides of (title, text)."""
    import pptx as library

    presentation = library.Presentation()
    for title, text in slides:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    return saved(presentation)


def eml(subject="Lamp", text="The lamp turns.\n", html="", attachment=""):
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "Ann <ann@example.org>", "bob@example.org"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    if text:
        message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html") if text else message.set_content(html, subtype="html")
    if attachment:
        message.add_attachment(b"binary\0bytes", maintype="application", subtype="pdf", filename=attachment)
    return message.as_bytes()


def with_part(data, name, content):
    """An office file with one of its parts replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        new.writestr(name, content)
    return out.getvalue()


def zip_bomb(size_bytes=1_000_000_000, declared_bytes=None):
    """An archive of one entry of zeros, which says of itself what it is told to."""
    squeeze, piece = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(10_000_000)
    ten_megabytes = squeeze.compress(piece) + squeeze.flush(zlib.Z_FULL_FLUSH)  # which may follow itself
    body = ten_megabytes * (size_bytes // len(piece)) + squeeze.flush()
    declared = size_bytes if declared_bytes is None else declared_bytes
    crc = zlib.crc32(bytes(declared)) if declared <= len(piece) else 0
    name = b"word/document.xml"
    sizes = struct.pack("<IIIHH", crc, len(body), declared, len(name), 0)
    entry = struct.pack("<IHHHHH", 0x04034B50, 20, 0, 8, 0, 0) + sizes + name + body
    place = struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    listing = struct.pack("<IHHHHHH", 0x02014B50, 20, 20, 0, 8, 0, 0) + sizes + place
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(listing), len(entry), 0)
    return entry + listing + end


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + ']><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    "<w:body><w:p><w:r><w:t>&a9;</w:t></w:r></w:p></w:body></w:document>"
)
