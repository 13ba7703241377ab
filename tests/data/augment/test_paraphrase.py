import pytest

from fakes_chat import Saying, reply
from mainspring.config import build
from mainspring.data.augment.paraphrase import PROMPT, Paraphrase, Settings, names_of

TEXT = "On Monday, the lamp of Old Harbour turned 12 times in 3.5 hours."
GOOD = "In 3.5 hours on Monday, Old Harbour's lamp made 12 turns."


def paraphrase(answer, texts=(TEXT,), copy=1, **values):
    model = Saying(lambda content, sampling: answer)
    made = Paraphrase(build(Settings, values), model)
    return made(list(texts), [f"d#{number}" for number in range(len(texts))], copy), model


@pytest.mark.parametrize("answer", [GOOD, f'  "{GOOD}"\n', f"Paraphrase: {GOOD}", f"\u201c{GOOD}\u201d"])
def test_a_good_answer_is_taken_without_what_stands_around_it(answer):
    (changed,), model = paraphrase(answer)
    assert changed.text == GOOD
    assert [content for content, _ in model.asked] == [PROMPT + TEXT]
    assert model.asked[0][1].temperature == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("It turned 12 times.", "too different in length"),
        (GOOD * 3, "too different in length"),
        (TEXT.upper(), "the same again"),
        (GOOD.replace("12", "13"), "numbers lost"),
        (GOOD.replace("12 turns", "12 turns and 12 more"), "numbers lost"),
        (GOOD.replace("3.5", "35"), "numbers lost"),
        (GOOD.replace("Harbour", "Town"), "names lost"),
        (GOOD.replace(" on Monday", " that day"), "names lost"),
        (reply(GOOD, "length"), "cut"),
    ],
)
def test_an_answer_that_cannot_be_trusted_leaves_the_original(answer, reason):
    (changed,), model = paraphrase(answer)
    assert (changed.text, changed.reason) == (None, reason)
    assert len(model.asked) == 2  # it was asked again


def test_only_what_was_not_taken_is_asked_again_more_freely():
    def answer(content, sampling):
        return (
            ""
            if "second" in content and sampling.temperature == 0
            else content.removeprefix(PROMPT) + " indeed"
        )

    model = Saying(answer)
    texts = ["the first text", "", "the second text"]
    found = Paraphrase(build(Settings, {"attempts": 3}), model)(texts, ["a", "b", "c"], 1)
    assert [each.text for each in found] == ["the first text indeed", None, "the second text indeed"]
    assert found[1].reason == "empty"
    assert [(content.removeprefix(PROMPT), sampling.temperature) for content, sampling in model.asked] == [
        ("the first text", 0.0),
        ("the second text", 0.0),
        ("the second text", 0.7),
    ]


def test_further_copies_are_drawn_with_seeds_of_their_own():
    seeds = {
        paraphrase(GOOD, copy=copy, seed=seed)[1].asked[0][1].seed for copy in (1, 2, 3) for seed in (0, 1)
    }
    assert len(seeds) == 5  # the first copy is greedy and needs none
    assert None in seeds


def test_names_are_words_with_a_capital_that_are_no_function_words():
    text = "The keeper, Ann O'Hara, said: \u201cIt's Bob's.\u201d I'm from NATO. But Weng can't."
    assert names_of(text) == {"ann", "o", "bob", "nato", "weng"}
    assert names_of("the lamp") == set()
