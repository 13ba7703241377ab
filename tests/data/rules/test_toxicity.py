import pytest

from mainspring.data.document import Document
from mainspring.data.rules.base import make
from mainspring.data.rules.word_list import FOLDER
from mainspring.errors import ConfigError, NotFoundError

HARMLESS = "The keeper of the lock wrote down how high the river rose in the night. "


def run(text, **settings):
    return make("toxicity", settings)(Document(id="1", text=text))


def test_a_dense_row_of_offensive_words_drops_the_document_and_is_named():
    outcome = run(f"{HARMLESS} You wankers, you ARSEHOLES and Arschloch!")
    assert outcome.document is None
    assert outcome.reason == "offensive_words"
    assert outcome.numbers == {"offensive_words": 3, "density": 3 / 21, "max_density": 0.005}
    assert outcome.sample == "arschloch, arseholes, wankers"


def test_a_few_in_any_text_and_more_in_a_long_one_are_let_pass():
    assert run("You wankers, you arseholes!").document is not None
    assert run(HARMLESS * 100 + "wankers, arseholes, twats").document is not None


def test_words_within_others_are_not_found():
    assert (
        run("Scunthorpe, shiitake, cockpit, Dickens, Fickenscher, Muschis " * 5, max_words=0).document
        is not None
    )


def test_a_list_of_ones_own_is_a_file(tmp_path):
    (tmp_path / "mine.txt").write_text("# mine\nRiver\n", encoding="utf-8")
    outcome = run(HARMLESS * 5, words=[str(tmp_path / "mine.txt")])
    assert outcome.sample == "river"


@pytest.mark.parametrize("name", ["klingon", "/nowhere/words.txt"])
def test_a_list_that_is_not_there_is_an_error_that_names_ours(name):
    with pytest.raises(ConfigError, match="de, en"):
        run("", words=[name])


def test_a_classifier_that_is_not_there_is_an_error_that_says_how_to_train_one(tmp_path):
    with pytest.raises(NotFoundError, match="mainspring data classifier"):
        run("", classifier=tmp_path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_lists_hold_one_word_a_line_in_lower_case_and_in_order(path):
    words = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(words) > 50
    assert all(word.isalpha() and word == word.lower() for word in words)
    assert len(set(words)) == len(words)
