"""PPTX: each slide a heading, then its text, tables and charts, and the speaker's notes."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

from mainspring.data.parse.archive import check_archive
from mainspring.data.parse.base import Parsed, Piece, Raw, assemble
from mainspring.data.parse.table import table_text
from mainspring.errors import DocumentError, MissingExtraError


def read(raw: Raw) -> Parsed:
    """All slides in order."""
    check_archive(raw)
    try:
        import pptx
    except ImportError as error:
        raise MissingExtraError("python-pptx", "docs", f"Reading {raw.name}") from error
    try:
        presentation = pptx.Presentation(io.BytesIO(raw.data))
    except (KeyError, ValueError) as error:
        raise DocumentError(
            f"{raw.name} is no presentation, or one in the form 'Strict Open XML' ({error}); save it as a "
            "usual .pptx."
        ) from error
    if len(presentation.slides) > raw.limits.max_pages:
        raise DocumentError(
            f"{raw.name} has {len(presentation.slides):,} slides; {raw.limits.max_pages:,} are the most. "
            "Split it, or raise the limit `max_pages`."
        )
    found = [
        piece for number, slide in enumerate(presentation.slides, start=1) for piece in _slide(slide, number)
    ]
    if all(piece.kind == "heading" and piece.text.startswith("Slide ") for piece in found):
        raise DocumentError(f"{raw.name} holds no text on its slides, only pictures. Leave it out.")
    return assemble(found, raw.name, presentation.core_properties.title)


def _slide(slide: Any, number: int) -> Iterator[Piece]:
    title = slide.shapes.title
    named = " ".join(title.text_frame.text.split()) if title is not None else ""
    yield Piece(kind="heading", text=named or f"Slide {number}", level=1)
    for shape in _flat(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        if notes:
            yield Piece(kind="paragraph", text=f"Notes: {notes}")


def _flat(shapes: Iterable[Any]) -> Iterator[Any]:
    """Shapes in their order, those of groups in the place of their group."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _flat(shape.shapes)
        else:
            yield shape


def _shape(shape: Any) -> Iterator[Piece]:
    if shape.has_text_frame:
        lines = [paragraph for paragraph in shape.text_frame.paragraphs if paragraph.text.strip()]
        is_list = len(lines) > 1
        text = "\n".join(f"{'  ' * line.level}- {line.text}" if is_list else line.text for line in lines)
        yield Piece(kind="list" if is_list else "paragraph", text=text.replace("\v", " "))
    elif shape.has_table:
        rows = ([cell.text for cell in row.cells] for row in shape.table.rows)
        yield Piece(kind="table", text=table_text(rows))
    elif shape.has_chart:
        yield from _chart(shape.chart)


def _chart(chart: Any) -> Iterator[Piece]:
    """The numbers that a chart shows, a row a category."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield Piece(kind="paragraph", text=chart.chart_title.text_frame.text)
    for plot in chart.plots:
        series = list(plot.series)
        head = ["", *(each.name for each in series)]
        values = zip(*(each.values for each in series), strict=False)
        rows = zip(map(str, plot.categories), values, strict=False)
        body = ([name, *("" if value is None else f"{value:g}" for value in row)] for name, row in rows)
        yield Piece(kind="table", text=table_text([head, *body]))
