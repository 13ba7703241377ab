import pytest

from fakes_prose import made_up, real
from mainspring.data.document import Document
from mainspring.data.rules.base import make
from oracle_datatrove import datatrove, verdict  # noqa: F401 - a fixture

THEIRS = {
    "gopher_short_doc": "too_few_words",
    "gopher_long_doc": "too_many_words",
    "gopher_below_avg_threshold": "words_too_short",
    "gopher_above_avg_threshold": "words_too_long",
    "gopher_too_many_hashes": "too_many_hashes",
    "gopher_too_many_ellipsis": "too_many_ellipses",
    "gopher_too_many_bullets": "too_many_bullet_lines",
    "gopher_too_many_end_ellipsis": "too_many_ellipsis_lines",
    "gopher_below_alpha_threshold": "too_few_alphabetic_words",
    "gopher_enough_stop_words": "too_few_stop_words",
    "": "",
}


def document(text):
    return Document(id="1", text=text)


def test_decisions_and_reasons_are_datatroves_but_for_stop_words_at_the_begin_of_sentences(datatrove):  # noqa: F811
    theirs, rule = datatrove.GopherQualityFilter(), make("gopher")
    reasons = set()
    for each in [*made_up(), *real()]:
        expected = THEIRS[verdict(theirs, each.text)[0]]
        reason = rule(each).reason
        reasons.add(reason)
        if expected == "too_few_stop_words" and not reason:
            assert {"the", "and", "to"} & set(each.text.lower().split())
        else:
            assert reason == expected, each.id
    assert len(reasons) > 6


def test_stop_words_count_in_any_case_and_beside_punctuation_as_datatrove_does_not_count_them(datatrove):  # noqa: F811
    text = 'The, "And" (with) ' + "river stone keeper " * 20
    assert verdict(datatrove.GopherQualityFilter(), text)[0] == "gopher_enough_stop_words"
    assert make("gopher")(document(text)).reason == ""


@pytest.mark.parametrize("count", [49, 50, 100_000, 100_001])
def test_the_limits_themselves_are_let_pass(count):
    text = " ".join(["the and river"] * (count // 3) + ["stone"] * (count % 3))
    is_kept = 50 <= count <= 100_000
    assert (make("gopher")(document(text)).document is not None) is is_kept


def test_a_dropped_document_says_what_was_measured_and_the_limit():
    outcome = make("gopher", {"min_words": 4})(document("just three words"))
    assert outcome.document is None
    assert outcome.reason == "too_few_words"
    assert outcome.numbers == {"measured": 3, "min_words": 4}
    assert outcome.sample == "just three words"


def test_a_limit_of_none_holds_nothing():
    off = dict.fromkeys(
        (
            "min_words", "max_words", "min_mean_word_length", "max_mean_word_length", "max_symbol_to_word_ratio",
            "max_bullet_line_fraction", "max_ellipsis_line_fraction", "min_alphabetic_word_fraction",
            "min_stop_words",
        )
    )  # fmt: skip
    for text in ("", " ", "# # ...", "- 1\n- 2"):
        assert make("gopher", off)(document(text)).document is not None


@pytest.mark.slow
def test_with_the_tokens_of_spacy_datatrove_decides_mostly_the_same(capsys):
    filters = pytest.importorskip(
        "datatrove.pipeline.filters", reason="datatrove (extra bench) is not installed"
    )
    theirs, rule, documents = filters.GopherQualityFilter(), make("gopher"), [*made_up(), *real()]
    same = sum((rule(each).document is None) == (verdict(theirs, each.text)[0] != "") for each in documents)
    with capsys.disabled():
        print(f"\n  gopher and datatrove with spaCy: {same} of {len(documents)} decisions are the same")
    assert same / len(documents) > 0.85
