"""Repeated spans against walking through the corpus and remembering everything."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.dedup.places import PIECE_BITS, Places, write_places
from mainspring.data.dedup.spans import PIECES, Settings, Spans, without
from mainspring.data.document import Document
from mainspring.errors import ConfigError

BOILERPLATE = "Subscribe to our newsletter and never miss any of the stories that we write."
TEXTS = st.lists(st.text("ab \n", max_size=14), max_size=8)


def make(**values: object) -> Spans:
    return Spans(build(Settings, {"min_words": 1, "min_characters": 1, **values}))


def cut_all(spans: Spans, texts: list[str], folder: Path) -> tuple[list[str | None], Places]:
    signed = (spans.sign(number, [text]) for number, text in enumerate(texts))
    places = spans.repeats(signed, folder)
    outcomes = (
        spans.cut(number, Document(id=str(number), text=text), places) for number, text in enumerate(texts)
    )
    return [each.document.text if each.document else None for each in outcomes], places


def plain_pieces(text: str, unit: str) -> list[str]:
    """Paragraphs, lines or words by splitting."""
    if unit == "run":
        return text.split()
    pieces = re.split(r"\n[^\S\n]*(?=\n)|\A[^\S\n]*(?=\n)", text) if unit == "paragraph" else text.split("\n")
    return [" ".join(each.split()) for each in pieces if each.strip()]


def plain_cut(texts: list[str], unit: str, length: int) -> list[list[str]]:
    """The words or pieces that stay: those in no window that stood anywhere before."""
    seen: set[tuple[str, ...]] = set()
    kept: list[list[str]] = []
    for text in texts:
        pieces = plain_pieces(text, unit)
        cut: set[int] = set()
        for start in range(len(pieces) - length + 1):
            window = tuple(pieces[start : start + length])
            if window in seen:
                cut |= set(range(start, start + length))
            seen.add(window)
        kept.append([piece for number, piece in enumerate(pieces) if number not in cut])
    return kept


@settings(deadline=None, max_examples=50)
@given(TEXTS, st.sampled_from(["paragraph", "line"]), st.sampled_from([1e-5, 256]))
def test_only_the_first_of_equal_paragraphs_and_lines_stays(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], unit: str, memory_mb: float
):
    spans = make(unit=unit, memory_mb=memory_mb)
    found, _ = cut_all(spans, texts, tmp_path_factory.mktemp("spans"))
    assert [plain_pieces(text or "", unit) for text in found] == plain_cut(texts, unit, 1)
    for text, after in zip(texts, found, strict=True):
        assert after is None or after.strip() or after == text


@settings(deadline=None, max_examples=50)
@given(TEXTS, st.integers(1, 4), st.sampled_from([1e-5, 256]))
def test_words_of_runs_that_stood_before_are_cut(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], length: int, memory_mb: float
):
    spans = make(unit="run", min_words=length, memory_mb=memory_mb)
    found, _ = cut_all(spans, texts, tmp_path_factory.mktemp("spans"))
    assert [(text or "").split() for text in found] == plain_cut(texts, "run", length)


def test_what_is_kept_keeps_its_form(tmp_path: Path):
    first = f"# Title\n\n{BOILERPLATE}\n\n    code\n    more\n"
    second = f"Another story.\n\n{BOILERPLATE}\n\n  Its end,\n  indented.\n\n{BOILERPLATE}\n"
    found, places = cut_all(Spans(Settings()), [first, second, BOILERPLATE], tmp_path)
    assert found == [first, "Another story.\n\n  Its end,\n  indented.", None]
    assert [(each.document, each.piece, each.times) for each in places.most] == [(0, 1, 3)]
    assert places.count == 3


def test_an_outcome_says_what_was_cut(tmp_path: Path):
    spans = Spans(Settings())
    texts = [BOILERPLATE, f"New.\n\n{BOILERPLATE}", BOILERPLATE]
    places = spans.repeats([spans.sign(0, texts)], tmp_path)
    documents = [Document(id=str(number), text=text) for number, text in enumerate(texts)]
    kept, changed, dropped = (spans.cut(*pair, places) for pair in enumerate(documents))
    assert (kept.document, kept.reason) == (documents[0], "")
    assert changed.reason == "repeated_spans"
    assert changed.sample == BOILERPLATE
    assert changed.numbers == {"spans": 1, "characters": len(BOILERPLATE)}
    assert dropped.document is None
    assert dropped.reason == "only_repeated_spans"


def test_a_span_that_is_too_short_is_left_alone(tmp_path: Path):
    texts = ["Yes.\n\nIn a word: no."] * 2
    assert cut_all(Spans(Settings()), texts, tmp_path)[0] == texts
    assert cut_all(make(min_characters=5), texts, tmp_path)[0] == [texts[0], "Yes."]
    assert cut_all(make(min_words=2), texts, tmp_path)[0] == [texts[0], "Yes."]


def test_workers_read_the_places_from_the_file(tmp_path: Path):
    spans = make()
    places = spans.repeats([spans.sign(0, ["a\n\na", "b\n\na"])], tmp_path)
    assert places.of(0).tolist() == [1]
    copy = pickle.loads(pickle.dumps(places))
    assert [copy.of(number).tolist() for number in range(3)] == [[1], [1], []]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["places.rows"]


def test_a_blank_line_of_a_million_spaces_takes_no_time():
    text = "a\n" + " " * 1_000_000 + "\nb"
    assert [found.strip() for found in PIECES["paragraph"].findall(text)] == ["a", "b"]
    assert PIECES["line"].findall(text) == ["a", "b"]


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.integers(0, 2**60) | st.integers(0, 99), unique=True, max_size=60), st.sampled_from([1, 500])
)
def test_places_are_sorted_with_hardly_any_memory(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], memory_bytes: int
):
    later = np.array(numbers, np.uint64)
    places = write_places([(later, later)], tmp_path_factory.mktemp("places"), memory_bytes)
    assert np.fromfile(places.path, np.uint64).tolist() == sorted(numbers)


def test_counts_are_handed_on_from_a_later_place_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    blocks = [([10, 10, 30], [11, 12, 31]), ([5, 5], [10, 13])]
    pairs = [(np.array(first, np.uint64), np.array(later, np.uint64)) for first, later in blocks]
    most = write_places(pairs, tmp_path, 10**6).most
    assert [(each.piece, each.times) for each in most] == [(5, 4), (30, 1)]


def test_a_place_holds_the_document_and_the_piece():
    rows = make(unit="line").sign(3, ["x\ny", "x"])
    assert [(int(place) >> PIECE_BITS, int(place) % 2**PIECE_BITS) for place in rows[:, 1]] == [
        (3, 0),
        (3, 1),
        (4, 0),
    ]
    assert rows[0, 0] == rows[2, 0] != rows[1, 0]


def test_cutting_nothing_changes_nothing():
    assert without("a b \n", []) == "a b \n"
    assert without("a b \n", [(0, 2)]) == "b \n"
    assert without("a b \n", [(2, 5)]) == "a"


def test_an_unknown_unit_is_refused():
    with pytest.raises(ConfigError, match="unit"):
        build(Settings, {"unit": "sentence"})
