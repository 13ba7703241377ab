import pytest

from mainspring.knowledge.cite import Aligner, clean
from mainspring.schema import Chunk, Hit


def hit(text, document="widget", title="Widget", heading="", start=100):
    chunk = Chunk(
        id=f"{document}-1",
        document=document,
        title=title,
        heading=heading,
        start=start,
        end=start + len(text),
        text=text,
    )
    return Hit(chunk=chunk, score=0.9)


TEXT = "Widget is released under Apache-2.0. It supports Python 3.9 and\nhigher. "
TEXT += "Requests time out after 10 minutes."


def aligner(question, *hits, titles=None):
    hits = hits or (hit(TEXT),)
    return Aligner(question, hits, lambda _: 1.0, titles or {h.chunk.document: h.chunk.title for h in hits})


@pytest.mark.parametrize(
    ("question", "answer", "quote"),
    [
        ("Which license does Widget have?", "Apache-2.0", "Widget is released under Apache-2.0."),
        (
            "Which Python does Widget support?",
            "Python 3.9 and higher.",
            "It supports Python 3.9 and\nhigher.",
        ),
        (
            "After how long do requests time out?",
            "The answer is 10 minutes.",
            "Requests time out after 10 minutes.",
        ),
    ],
)
def test_a_short_phrase_is_supported_by_the_sentence_that_holds_it(question, answer, quote):
    evidence = aligner(question).support(answer)
    assert evidence is not None
    assert evidence.quote == quote
    assert evidence.support > 0.6
    assert TEXT[evidence.start - 100 : evidence.end - 100] == quote


@pytest.mark.parametrize(
    "answer",
    [
        "Python 3.8",
        "MIT",
        "GPL-3.0",
        "It supports Python 3.9 on Windows only.",
        "20 minutes",
        "[1]",
        "",
        "!!!",
    ],
)
def test_what_is_made_up_is_not_supported(answer):
    evidence = aligner("Which Python does Widget support?").support(answer)
    assert evidence is None or evidence.support < 0.6


def test_repeating_the_question_is_not_an_answer():
    assert aligner("Which Python does Widget support?").support("Widget supports Python.") is None


def test_a_true_word_in_a_sentence_about_something_else_is_no_support():
    about = hit("It runs on Linux. It is slower than on Python 3.8. Subinterpreters need Python 3.13.")
    question = "From which Python version on does Widget offer subinterpreters?"
    found = aligner(question, about).support("Widget offers subinterpreters from Python 3.8 on.")
    assert found is None or found.support < 0.6
    assert aligner(question, about).support("Python 3.13").support > 0.6


def test_the_document_that_the_question_names_wins_over_another_one():
    other = hit("Gadget supports Python 3.9 officially.", document="gadget", title="Gadget")
    question = "Which Python does Widget support officially?"
    assert (
        aligner(question, hit("Widget officially supports Python 3.10+."), other)
        .support("Python 3.10+")
        .support
        > 0.9
    )
    both = aligner(question, hit("Widget officially supports Python 3.10+."), other)
    assert both.support("Python 3.9") is None


def test_list_markers_are_not_quoted_and_the_place_stays_exact():
    listed = hit("* Fast starts\n* Worker threads")
    evidence = aligner("What does it use?", listed).support("worker threads")
    assert (evidence.quote, evidence.start) == ("Worker threads", 100 + len("* Fast starts\n* "))


@pytest.mark.parametrize(
    ("said", "cleaned"),
    [
        ("It is free [1].", "It is free."),
        ("It is free [2, 3].", "It is free."),
        ("Answer: free", "free"),
        ("widget: It is free.", "It is free."),
        ("Note: it is free.", "Note: it is free."),
    ],
)
def test_numbers_and_labels_that_a_model_echoes_are_taken_out(said, cleaned):
    assert clean(said, ["Widget"]) == cleaned


def test_a_document_that_the_question_does_not_name_supports_nothing_about_the_one_it_names():
    other = hit("Gadget is released under the 3-clause BSD license.", document="gadget", title="Gadget")
    titles = {"widget": "Widget", "gadget": "Gadget"}
    assert (
        aligner("Which license does Widget have?", other, titles=titles).support("3-clause BSD license")
        is None
    )
    assert aligner("Which license does Gadget have?", other, titles=titles).support("3-clause BSD license")
