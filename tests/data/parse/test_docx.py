import io

import docx as library
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_documents import docx, saved, with_part, xlsx
from mainspring.data.parse import parse
from mainspring.data.parse.base import Raw
from mainspring.data.parse.docx import read
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError


def parsed_of(document):
    return read(Raw(data=saved(document), name="d.docx", limits=ParseLimits()))


def blocks_of(document):
    parsed = parsed_of(document)
    return [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]


def add(document, inner):
    document.element.body.insert(
        len(document.element.body) - 1, parse_xml(f"<w:p {nsdecls('w')}>{inner}</w:p>")
    )


def run(text):
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def test_everything_stands_in_the_order_of_the_document():
    document = library.Document()
    document.add_heading("The lamp", 0)
    document.add_heading("Parts", 1)
    document.add_paragraph("Made of three:")
    for item in ("a wick", "a lens"):
        document.add_paragraph(item, style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell {number}"
    document.add_heading("Oil", 2)
    document.add_paragraph("Whale.")
    parsed = parsed_of(document)
    found = [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]
    assert found == [
        ("heading", "The lamp"),
        ("heading", "Parts"),
        ("paragraph", "Made of three:"),
        ("list", "- a wick\n- a lens"),
        ("table", "| cell 0 | cell 1 |\n| cell 2 | cell 3 |"),
        ("heading", "Oil"),
        ("paragraph", "Whale."),
    ]
    assert parsed.title == "The lamp"
    assert parsed.blocks[-1].heading_path == ("The lamp", "Parts", "Oil")


def test_numbered_items_have_the_numbers_that_word_shows():
    document = library.Document()
    for text, style in [
        ("a", "List Number"),
        ("b", "List Number"),
        ("in", "List Number 2"),
        ("c", "List Number"),
    ]:
        document.add_paragraph(text, style=style)
    ((kind, text),) = blocks_of(document)
    assert kind == "list"
    assert [line.strip() for line in text.split("\n")] == ["1. a", "2. b", "1. in", "3. c"]


NUMBERING = (
    "<w:numbering {}><w:abstractNum w:abstractNumId='9'>"
    "<w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1'/></w:lvl>"
    "<w:lvl w:ilvl='1'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1.%2'/></w:lvl>"
    "<w:lvl w:ilvl='2'><w:start w:val='3'/><w:numFmt w:val='lowerLetter'/><w:lvlText w:val='(%3)'/></w:lvl>"
    "</w:abstractNum><w:num w:numId='9'><w:abstractNumId w:val='9'/></w:num></w:numbering>"
)


def test_levels_of_a_list_count_together_and_start_anew_below_each_other():
    document = library.Document()
    for text, level in [("a", 0), ("b", 1), ("c", 1), ("d", 2), ("e", 2), ("f", 0), ("g", 1)]:
        numbered = f"<w:pPr><w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='9'/></w:numPr></w:pPr>"
        add(document, numbered + run(text))
    data = with_part(saved(document), "word/numbering.xml", NUMBERING.format(nsdecls("w")))
    text = parse(data, "d.docx", "docx").text
    assert text == "1 a\n  1.1 b\n  1.2 c\n    (c) d\n    (d) e\n2 f\n  2.1 g"


def test_what_was_inserted_is_read_and_what_was_deleted_is_not():
    document = library.Document()
    add(document, run("The ") + f"<w:ins w:id='1' w:author='a'>{run('new ')}</w:ins>"
        + "<w:del w:id='2' w:author='a'><w:r><w:delText>old </w:delText></w:r></w:del>" + run("lamp"))  # fmt: skip
    assert blocks_of(document) == [("paragraph", "The new lamp")]


def test_links_fields_controls_and_breaks_are_read():
    document = library.Document()
    add(document, run("a") + f"<w:hyperlink>{run('link')}</w:hyperlink>"
        + f"<w:sdt><w:sdtContent>{run('control')}</w:sdtContent></w:sdt>"
        + "<w:r><w:br/><w:t>next</w:t><w:noBreakHyphen/><w:t>line</w:t></w:r>")  # fmt: skip
    inner = f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p>{run('whole control')}</w:p></w:sdtContent></w:sdt>"
    document.element.body.insert(0, parse_xml(inner))
    assert blocks_of(document) == [("paragraph", "whole control"), ("paragraph", "alinkcontrol\nnext-line")]


def test_a_text_box_is_read_once():
    document = library.Document()
    box = f"<w:txbxContent><w:p>{run('boxed')}</w:p></w:txbxContent>"
    add(document, run("beside") + "<w:r><mc:AlternateContent "
        "xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'>"
        f"<mc:Choice Requires='wps'>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        "</mc:AlternateContent></w:r>")  # fmt: skip
    assert blocks_of(document) == [("paragraph", "beside"), ("paragraph", "boxed")]


def test_merged_cells_are_read_once_and_tables_within_cells_with_them():
    document = library.Document()
    table = document.add_table(rows=2, cols=3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    table.cell(0, 2).text = "narrow"
    table.cell(1, 0).text = "outer"
    table.cell(1, 1).add_table(rows=1, cols=1).cell(0, 0).text = "inner"
    assert blocks_of(document) == [("table", "| wide | narrow |\n| outer | | inner | |")]


def test_a_style_below_another_one_is_a_heading_too_and_code_is_code():
    document = library.Document()
    mine = document.styles.add_style("Chapter", 1)
    mine.base_style = document.styles["Heading 2"]
    document.styles.add_style("Source Code", 1)
    document.add_paragraph("Mine", style="Chapter")
    document.add_paragraph("x = 1", style="Source Code")
    assert blocks_of(document) == [("heading", "Mine"), ("code", "x = 1")]


def test_the_title_of_the_file_stands_in_where_no_heading_opens():
    document = library.Document()
    document.add_paragraph("Text.")
    document.core_properties.title = "From the file"
    assert parsed_of(document).title == "From the file"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (xlsx([[1]]), "is no Word document"),
        (docx(), "holds no text"),
        (b"PK no zip", "no intact office file"),
        (with_part(docx("x"), "word/document.xml", b"<broken"), "cannot be read as docx"),
        (with_part(docx("x"), "word/document.xml", b""), "cannot be read as docx"),
    ],
    ids=["xlsx", "empty", "no zip", "broken xml", "empty xml"],
)
def test_what_is_no_document_is_refused_with_its_reason(data, reason):
    with pytest.raises(DocumentError, match=reason):
        parse(data, "d.docx", "docx")


TEXT = st.text("abc äß", min_size=1, max_size=12).filter(str.strip)


ROWS = st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=3)


@given(st.lists(st.one_of(TEXT, ROWS), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
@pytest.mark.slow
def test_the_library_reads_the_same_words_in_the_same_order(parts):
    document = library.Document()
    for part in parts:
        if isinstance(part, str):
            document.add_paragraph(part)
        else:
            table = document.add_table(rows=len(part), cols=2)
            for row, texts in zip(table.rows, part, strict=True):
                for cell, text in zip(row.cells, texts, strict=True):
                    cell.text = text
    again = library.Document(io.BytesIO(saved(document)))
    wanted = []
    for block in again.iter_inner_content():
        if hasattr(block, "rows"):
            wanted += [word for row in block.rows for cell in row.cells for word in cell.text.split()]
        else:
            wanted += block.text.split()
    assert parsed_of(document).text.replace("|", " ").split() == wanted
