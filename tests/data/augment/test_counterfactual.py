import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.augment.counterfactual import Counterfactual, Settings, read_pairs
from mainspring.errors import ConfigError

DATA = Path(os.environ.get("MAINSPRING_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
GENDER = Counterfactual(Settings())
NAMES = Counterfactual(build(Settings, {"pairs": ["gender_en", "names_en"]}))
TERMS = [term for pair in read_pairs("gender_en") for term in pair]


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*TERMS, "winds", "manly's", "tower", "womankind"]),
            st.sampled_from([str.lower, str.capitalize, str.upper]),
            st.sampled_from(["", "'s", ",", "-in-law", "."]),
        ),
        max_size=12,
    )
)
def test_exchanging_listed_pairs_twice_gives_the_text_again(drawn):
    text = " ".join(case(term) + tail for term, case, tail in drawn)
    assert GENDER.swap(GENDER.swap(text)) == text


def test_every_listed_term_becomes_its_partner_in_every_casing():
    for name in ("gender_en", "names_en"):
        for one, other in read_pairs(name):
            for before, after in ((one, other), (other, one)):
                assert NAMES.swap(before) == after
                assert NAMES.swap(before.upper()) == after.upper()
                assert NAMES.swap(before.capitalize()) == after[0].upper() + after[1:]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("He winds it himself.", "She winds it herself."),
        ("HE IS A KING. The king's horses", "SHE IS A QUEEN. The queen's horses"),
        (
            "his mother-in-law, his own car, his very old clock",
            "her father-in-law, her own car, her very old clock",
        ),
        ("It is his. A friend of his was there.", "It is hers. A friend of hers was there."),
        ("I saw him. Tell him that he won.", "I saw her. Tell her that she won."),
        ("They gave him the book and paid him $5.", "They gave her the book and paid her $5."),
        ("We let him go; it made him cry.", "We let her go; it made her cry."),
        ("She told him quietly, and left.", "He told her quietly, and left."),
        ("His badly damaged lamp", "Her badly damaged lamp"),
        ("They paid him 5 dollars for his 5 lamps.", "They paid her 5 dollars for her 5 lamps."),
        ("Call him back. His back hurts.", "Call her back. Her back hurts."),
        ("his or hers", "hers or his"),
        ("I asked him to come with his wife.", "I asked her to come with her husband."),
        ("HIS CAR IS HIS.", "HER CAR IS HERS."),
        ("He's here and HE'LL stay", "She's here and SHE'LL stay"),
        ("because of him", "because of her"),
        (
            "A gift for his family, his 13th, and it cost him 4 hours",
            "A gift for her family, her 13th, and it cost her 4 hours",
        ),
        ("with his \u201cbest\u201d friend", "with her \u201cbest\u201d friend"),
    ],
)
def test_pronouns_are_told_apart_both_ways(one, other):
    assert GENDER.swap(one) == other
    assert GENDER.swap(other) == one


def test_parts_of_words_and_words_of_no_pair_stay():
    text = "The human shepherd said theme, history, hero-less? Hershey; other_he, kingdom"
    assert GENDER.swap(text) == text.replace("hero-less", "heroine-less")
    assert GENDER(["Nothing here"], ["k"], 1)[0].reason == "no paired term"


def test_names_are_met_with_a_capital_alone():
    assert NAMES.swap("Mary's lamb, Tom and jane, mark him") == "James's lamb, Jane and jane, mark her"
    assert GENDER.swap("Mary") == "Mary"


def test_rules_for_pronouns_can_be_left_out():
    bare = Counterfactual(build(Settings, {"pronouns": False}))
    assert bare.swap("he and his wife") == "she and his husband"


def test_pairs_of_ones_own_are_read_from_a_file(tmp_path):
    own = tmp_path / "age.txt"
    own.write_text("# by age\nyoung | old\n\nyoung man | old man # longer ones go first\n")
    swapped = Counterfactual(build(Settings, {"pairs": [str(own)], "pronouns": False}))
    assert swapped.swap("The young and the OLD MAN") == "The old and the YOUNG MAN"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("he she", "Line 1 of the pairs"),
        ("a | b | c", "write two terms"),
        ("a |", "write two terms"),
        ("a | b\nb | c", "'b' is paired with 'a' and 'c'"),
        ("his | her", "though rules decide over it"),
    ],
)
def test_pairs_that_are_none_are_an_error(tmp_path, text, says):
    (tmp_path / "own.txt").write_text(text)
    with pytest.raises(ConfigError, match=says):
        Counterfactual(build(Settings, {"pairs": [str(tmp_path / "own.txt")]}))
    with pytest.raises(ConfigError, match="cannot be read"):
        Counterfactual(build(Settings, {"pairs": ["nowhere"]}))


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the public data sets are not beside the checkout")
def test_sentences_that_people_wrote_in_pairs_become_each_other():
    """WinoBias: each sentence stands there twice, with the pronoun of either gender."""
    right = total = 0
    for kind in ("type1", "type2"):
        sides = [
            [re.sub(r"[\[\]]", "", line.partition(" ")[2]).strip() for line in path.read_text().splitlines()]
            for path in (DATA / "winobias" / f"{side}_stereotyped_{kind}.txt.dev" for side in ("pro", "anti"))
        ]
        for one, other in zip(*sides, strict=True):
            differing = [(a, b) for a, b in zip(one.split(), other.split(), strict=False) if a != b]
            if len(one.split()) == len(other.split()) and len(differing) == 1:  # else they are no pair
                right += (GENDER.swap(one) == other) + (GENDER.swap(other) == one)
                total += 2
    assert total > 1500
    assert right / total > 0.97
