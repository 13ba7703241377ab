import pytest

from fakes_prose import made_up, real
from mainspring.data.document import Document
from mainspring.data.rules.base import make
from oracle_datatrove import datatrove, verdict  # noqa: F401 - a fixture

GOOD = "The first sentence has quite a few words. The second one has them, too.\nHere is a third one of the kind."


def run(text, **settings):
    return make("c4", settings)(Document(id="1", text=text))


def test_decisions_reasons_and_texts_are_datatroves_but_for_pages_with_code_or_placeholders(datatrove):  # noqa: F811
    theirs = datatrove.C4QualityFilter(min_num_sentences=3, min_words_per_line=5)
    rule = make("c4", {"bad_words": []})
    reasons = set()
    for each in [*made_up(), *real()]:
        expected, text = verdict(theirs, each.text)
        outcome = rule(each)
        reasons.add(outcome.reason)
        if outcome.reason in ("curly_bracket", "lorem_ipsum"):
            assert "{" in each.text or "lorem ipsum" in each.text.lower()
        elif outcome.document is None:
            assert outcome.reason == expected, each.id
        else:
            assert expected == "", each.id
            assert outcome.document.text == text, each.id
    assert {"curly_bracket", "lorem_ipsum", "too_few_sentences", "lines_removed"} <= reasons


@pytest.mark.parametrize("line", ["function() { return 1 }", "Lorem ipsum"])
def test_the_whole_page_goes_also_for_a_line_that_datatrove_removes_before_it_looks(datatrove, line):  # noqa: F811
    text = f"{GOOD}\n{line}"
    assert verdict(datatrove.C4QualityFilter(min_num_sentences=3, min_words_per_line=5), text)[0] == ""
    assert run(text).document is None


def test_the_defaults_are_those_of_the_journal_and_not_of_the_first_version(datatrove):  # noqa: F811
    assert verdict(datatrove.C4QualityFilter(), GOOD)[0] == "too_few_sentences"  # five
    assert run(GOOD).reason == ""  # three
    assert run(GOOD + "\nOnly four words here.").numbers == {"short_lines": 1}


def test_every_kind_of_line_is_counted_by_itself():
    lines = [
        "no mark at the end of this", "Too short.", "Please turn on JavaScript to see this.", "",
        "We use cookies for the good of all.", "Ends in an ellipsis as such ...", "x" * 1001 + " is a long word here.",
    ]  # fmt: skip
    outcome = run("\n".join([GOOD, *lines]))
    assert outcome.document is not None
    assert outcome.document.text == GOOD
    assert outcome.numbers == {
        "no_terminal_punctuation": 2, "short_lines": 1, "javascript": 1, "blank_lines": 1, "policy": 1, "long_words": 1,
    }  # fmt: skip


def test_citation_markers_are_taken_out():
    outcome = run(GOOD + "[1]\nIt is well known to everyone here.[citation needed][edit]")
    assert outcome.document is not None
    assert outcome.document.text == GOOD + "\nIt is well known to everyone here."


def test_a_page_with_a_bad_word_goes_and_the_word_is_the_sample():
    outcome = run(GOOD + " What a bunch of wankers.")
    assert (outcome.reason, outcome.sample, outcome.numbers) == ("bad_words", "wankers", {"bad_words": 1})
    assert run(GOOD + " Scunthorpe is a town.").document is not None


def test_what_is_clean_stays_the_very_same():
    document = Document(id="1", text=GOOD)
    assert make("c4")(document).document is document


@pytest.mark.slow
def test_with_the_sentences_of_spacy_datatrove_decides_the_same():
    filters = pytest.importorskip(
        "datatrove.pipeline.filters", reason="datatrove (extra bench) is not installed"
    )
    theirs = filters.C4QualityFilter(min_num_sentences=3, min_words_per_line=5)
    rule, differing = make("c4", {"bad_words": [], "curly_bracket": False, "lorem_ipsum": False}), []
    for each in [*made_up(), *real()]:
        if "{" not in each.text and "lorem" not in each.text:
            expected, text = verdict(theirs, each.text)
            outcome = rule(each)
            if (outcome.document.text if outcome.document else None) != (None if expected else text):
                differing.append(each.id)
    assert len(differing) < 3, differing
