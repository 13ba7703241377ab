from fakes_prose import made_up, real
from mainspring.data.document import Document
from mainspring.data.rules.base import make
from oracle_datatrove import datatrove, verdict  # noqa: F401 - a fixture

THEIRS = {
    "dup_para_frac": "duplicate_paragraphs",
    "dup_para_char_frac": "duplicate_paragraph_characters",
    "dup_line_frac": "duplicate_lines",
    "dup_line_char_frac": "duplicate_line_characters",
    **{f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"duplicate_{n}_gram" for n in range(5, 11)},
    "": "",
}


def test_decisions_and_reasons_are_datatroves_but_for_the_ends_of_long_duplicates(datatrove):  # noqa: F811
    theirs, rule = datatrove.GopherRepetitionFilter(), make("gopher_repetition")
    reasons, differing = set(), 0
    for each in [*made_up(380), *real()]:
        expected = THEIRS[verdict(theirs, each.text)[0]]
        reason = rule(each).reason
        reasons.add(reason)
        if reason != expected:  # we count more characters of n-grams, so we can only drop more, or sooner
            differing += 1
            assert THEIRS.get(f"duplicated_{reason.split('_')[1]}_n_grams") == reason, each.id
            assert expected == "" or expected.startswith("duplicate_"), each.id
    assert len(reasons) > 8
    assert differing < 20


def test_the_end_of_a_duplicate_counts_as_the_paper_says_and_datatrove_does_not(datatrove):  # noqa: F811
    row = "one two three four five six seven eight nine"
    unlike = " ".join(f"word{at}" for at in range(23))
    document = Document(id="1", text=f"{row} {unlike} {row} end")
    only_5 = datatrove.GopherRepetitionFilter(top_n_grams=(), dup_n_grams=((5, 0.12),))
    assert verdict(only_5, document.text)[0] == ""  # five of the nine words
    outcome = make("gopher_repetition", {"duplicate_5_gram_character_fraction": 0.12})(document)
    assert outcome.reason == "duplicate_5_gram"
    assert outcome.numbers["measured"] == len(row.replace(" ", "")) / len(document.text)


def test_words_that_are_equal_only_without_blanks_are_no_duplicate():
    text = (
        " ".join(f"x{at}" for at in range(60))
        + " ab c d e f "
        + " ".join(f"y{at}" for at in range(60))
        + " a bc d e f"
    )
    outcome = make("gopher_repetition", {"duplicate_5_gram_character_fraction": 0.001})(
        Document(id="1", text=text)
    )
    assert outcome.reason == ""


def test_an_empty_document_repeats_nothing():
    assert make("gopher_repetition")(Document(id="1", text=" \n\n ")).document is not None
