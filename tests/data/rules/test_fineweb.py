import pytest

from fakes_prose import made_up, real
from mainspring.data.document import Document
from mainspring.data.rules.base import make
from oracle_datatrove import datatrove, verdict  # noqa: F401 - a fixture

THEIRS = {
    "line_punct_ratio": "too_few_punctuated_lines",
    "short_line_ratio": "too_many_short_lines",
    "char_dup_ratio": "duplicate_line_characters",
    "empty": "too_few_punctuated_lines",
    "": "",
}


def test_decisions_and_reasons_are_datatroves_with_the_thresholds_of_the_paper(datatrove):  # noqa: F811
    theirs = datatrove.FineWebQualityFilter(
        short_line_length=29, char_duplicates_ratio=0.1, new_line_ratio=9e9
    )
    rule, reasons = make("fineweb"), set()
    for each in [*made_up(), *real()]:
        outcome = rule(each)
        if outcome.numbers.get("measured") == outcome.numbers.get("min_punctuated_line_fraction", -1):
            continue  # at the limit the paper refuses and datatrove does not, see below
        reason = outcome.reason
        reasons.add(reason)
        assert reason == THEIRS[verdict(theirs, each.text)[0]], each.id
    assert len(reasons) == 4


def test_the_limit_of_repeated_lines_is_the_papers_and_not_datatroves(datatrove):  # noqa: F811
    lines = [f"This is the line with the number {at} of a longer text." for at in range(40)]
    text = "\n".join([*lines, lines[0], lines[1]])
    assert verdict(datatrove.FineWebQualityFilter(), text)[0] == "char_dup_ratio"  # 0.01
    assert make("fineweb")(Document(id="1", text=text)).reason == ""


def test_a_value_at_the_limit_is_refused():
    text = "\n".join(
        ["A line that has an end and is long enough."]
        + [f"Line {at} has none and is long" for at in range(9)]
    )
    outcome = make("fineweb", {"min_punctuated_line_fraction": 0.1})(Document(id="1", text=text))
    assert outcome.numbers == {"measured": 0.1, "min_punctuated_line_fraction": 0.1}


@pytest.mark.parametrize("text", ["", " \n \n"])
def test_an_empty_document_has_no_lines_with_an_end(text):
    assert make("fineweb")(Document(id="1", text=text)).reason == "too_few_punctuated_lines"
