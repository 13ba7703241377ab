import pptx as library
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from fakes_documents import docx, pptx, saved
from mainspring.data.parse import parse
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError

BOX = (Inches(1), Inches(1), Inches(3), Inches(2))


def blocks_of(data):
    parsed = parse(data, "d.pptx", "pptx")
    return [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]


def blank(presentation):
    return presentation.slides.add_slide(presentation.slide_layouts[6])


def test_slides_are_headings_with_their_text_below():
    assert blocks_of(pptx(("Lamp", "It turns."), ("Oil", "Whale\nOlive"))) == [
        ("heading", "Lamp"),
        ("paragraph", "It turns."),
        ("heading", "Oil"),
        ("list", "- Whale\n- Olive"),
    ]


def test_tables_charts_groups_and_notes_are_read():
    presentation = library.Presentation()
    slide = blank(presentation)
    table = slide.shapes.add_table(2, 2, *BOX).table
    for number in range(4):
        table.cell(number // 2, number % 2).text = f"cell {number}"
    group = slide.shapes.add_group_shape()
    group.shapes.add_group_shape().shapes.add_textbox(*BOX).text_frame.text = "grouped"
    numbers = CategoryChartData()
    numbers.categories = ["May", "June"]
    numbers.add_series("Rain", (1.5, None))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *BOX, numbers)
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    found = blocks_of(saved(presentation))
    assert found[:3] == [
        ("heading", "Slide 1"),
        ("table", "| cell 0 | cell 1 |\n| cell 2 | cell 3 |"),
        ("paragraph", "grouped"),
    ]
    assert ("table", "|  | Rain |\n| May | 1.5 |\n| June |") in found
    assert found[-1] == ("paragraph", "Notes: Say it slowly.")


def test_the_depth_of_points_is_kept():
    presentation = library.Presentation()
    frame = blank(presentation).shapes.add_textbox(*BOX).text_frame
    frame.text = "outer"
    inner = frame.add_paragraph()
    inner.text, inner.level = "inner", 1
    assert blocks_of(saved(presentation))[1] == ("list", "- outer\n  - inner")


def test_slides_without_text_are_refused():
    presentation = library.Presentation()
    blank(presentation)
    with pytest.raises(DocumentError, match="only pictures"):
        parse(saved(presentation), "d.pptx", "pptx")


def test_limits_and_wrong_files_are_named():
    with pytest.raises(DocumentError, match="has 2 slides; 1 are the most"):
        parse(pptx(("a", "b"), ("c", "d")), "d.pptx", "pptx", limits=ParseLimits(max_pages=1))
    with pytest.raises(DocumentError, match="is no presentation"):
        parse(docx("x"), "d.pptx", "pptx")
