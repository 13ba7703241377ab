from fractions import Fraction

import pytest

from mainspring.errors import ConfigError
from mainspring.train.rewards.math import Math, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 42.", 42),
        ("First 7, then 1,234,567 apples", 1_234_567),
        ("5-3 = 2", 2),
        ("it is 10 - 30", 30),
        ("it is 10-30", 30),
        ("it fell to -3", -3),
        ("it fell to \N{MINUS SIGN}3.50 degrees", Fraction(-7, 2)),
        ("costs -$1,000.50", Fraction(-2001, 2)),
        ("a half is 1/2", Fraction(1, 2)),
        ("a half is .5", Fraction(1, 2)),
        ("75% of them", 75),
        ("so 1.5e3 in all", 1500),
        ("see (12)", 12),
        ("12 km/h", 12),
        ("1/0", None),
        ("none at all", None),
        ("", None),
        ("9" * 2000, None),
        ("1e999999999", 999999999),
        ("He pays 3 * 14 = 42\n#### 42", 42),
        ("#### 1,000 dollars\nand then 7", 1000),
        ("#### 1\nno: #### 2", 2),
        ("#### 3 or 4", "3or4"),
        ("#### yes", "yes"),
        ("#### ", None),
        ("2 and \\boxed{\\frac{3}{4}}", Fraction(3, 4)),
        ("\\boxed{-\\dfrac{3}{4}}", Fraction(-3, 4)),
        ("\\boxed{12\\text{ cm}} and 5", 12),
        ("\\boxed{\\$5}", 5),
        ("\\boxed{50\\%}", 50),
        ("\\boxed{x^2 + 1}", "x^2+1"),
        ("\\boxed{\\{a\\}}", "\\{a\\}"),
        ("\\boxed{5", 5),
    ],
)  # fmt: skip
def test_the_value_of_an_answer_is_its_mark_or_its_last_number(text, value):
    assert value_of(text) == value


def test_an_answer_is_right_if_its_number_is_exactly_the_references():
    math = Math()
    assert math("", "so it is 0.75", "work\n#### 3/4") == 1.0
    assert math("", "so it is 0.7500001", {"answer": "3/4"}) == 0.0
    assert math("", "no idea", "42") == 0.0
    assert math("", "\\boxed{ x + 1 }", "\\boxed{x+1}") == 1.0


def test_unmarked_answers_count_only_where_marks_are_not_asked_for():
    marked = Math(is_marked=True)
    assert marked("", "it is 42", "42") == 0.0
    assert marked("", "it is 7\n#### 42", "42") == 1.0


@pytest.mark.parametrize("reference", [None, {}, {"tests": "1"}, "no number"])
def test_references_without_a_number_are_refused(reference):
    with pytest.raises(ConfigError, match="reference"):
        Math()("", "42", reference)
