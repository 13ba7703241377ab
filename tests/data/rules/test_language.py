import pytest

from mainspring.data.document import Document
from mainspring.data.rules.base import make
from mainspring.errors import ConfigError

TEXTS = {
    "en": "The river rose in the night, and nobody saw it but the old keeper, who wrote it down in his book.",
    "de": "Der Fluss stieg in der Nacht, und niemand sah es außer dem alten Wärter, der es in sein Buch schrieb.",
    "fr": "La rivière est montée pendant la nuit, et personne ne l'a vue sauf le vieux gardien de l'écluse.",
    "es": "El río subió durante la noche y nadie lo vio excepto el viejo guardián, que lo escribió en su libro.",
    "ru": "Ночью река поднялась, и никто этого не видел, кроме старого сторожа, который записал это в книгу.",
    "zh": "夜里河水上涨了，除了老看守人，没有人看见，他把这件事写在了他的书里。",  # noqa: RUF001
}


@pytest.mark.parametrize("language", list(TEXTS))
def test_the_language_is_said_of_every_document_that_stays(language):
    outcome = make("language")(Document(id="1", text=TEXTS[language], meta={"license": "MIT"}))
    assert outcome.document is not None
    assert outcome.reason == ""  # its text is as it was
    assert outcome.document.meta["language"] == language
    assert 0.5 <= outcome.document.meta["language_probability"] <= 1
    assert outcome.document.meta["license"] == "MIT"


def test_other_languages_than_those_wanted_are_dropped_and_named():
    rule = make("language", {"keep": ["en", "de"]})
    kept = [name for name, text in TEXTS.items() if rule(Document(id="1", text=text)).document is not None]
    assert kept == ["en", "de"]
    outcome = rule(Document(id="1", text=TEXTS["fr"]))
    assert (outcome.reason, outcome.sample[:4]) == ("other_language", "fr: ")
    assert outcome.numbers["probability"] > 0.5


@pytest.mark.parametrize("text", ["", "1234 5678", "!!! ???"])
def test_what_is_in_no_language_is_uncertain(text):
    outcome = make("language")(Document(id="1", text=text))
    assert outcome.document is None
    assert outcome.reason == "uncertain"
    assert outcome.numbers["probability"] < outcome.numbers["min_probability"] == 0.5


def test_a_long_document_is_judged_by_its_begin_middle_and_end():
    text = TEXTS["de"] * 20 + TEXTS["en"] * 2000 + TEXTS["de"] * 20
    outcome = make("language", {"max_chars": 3000})(Document(id="1", text=text))
    assert outcome.document is not None
    assert outcome.document.meta["language"] == "de"


def test_a_language_that_the_model_does_not_know_is_an_error_that_names_those_it_does():
    with pytest.raises(ConfigError, match=r"english.*en,"):
        make("language", {"keep": ["english"]})
