"""Plans: keys of parts change with what decides over them, and with nothing else."""

import pytest

from fakes_bench import recipe_of
from fakes_build import write_rows
from mainspring.config import build
from mainspring.data.plan import differences, make_plan
from mainspring.data.recipe import Recipe


@pytest.fixture
def plan_of(bench):
    path = write_rows(bench.root / "rows.jsonl", [f"text number {number}" for number in range(100)])

    def make(**changes):
        return make_plan(
            build(Recipe, {**recipe_of(path, 1000), **changes}), bench.root / "sources", bench.registry
        )

    return make


@pytest.mark.parametrize(
    ("changes", "is_read_again", "is_another"),
    [
        ({}, False, False),
        ({"executor": {"workers": 7}}, False, False),
        ({"rules": ["quiet", "short"]}, False, False),  # the same settings by default
        ({"rules": ["quiet", {"short": {"min_words": 4}}]}, True, True),
        ({"rules": ["short", "quiet"]}, True, True),
        ({"dedup": {"near": True}}, True, True),
        ({"split": {"seed": 5}}, False, True),
        ({"max_file_mb": 5}, False, True),
        ({"name": "other"}, False, True),
    ],
)
def test_parts_are_read_again_only_for_what_decides_over_them(plan_of, changes, is_read_again, is_another):
    plan, other = plan_of(), plan_of(**changes)
    assert ([task.key for task in plan.tasks] != [task.key for task in other.tasks]) == is_read_again
    assert (plan.fingerprint != other.fingerprint) == is_another
    assert len({task.key for task in plan.tasks}) == len(plan.tasks) > 1


def test_what_is_in_the_files_that_a_rule_names_counts(plan_of, bench):
    words = bench.root / "words.txt"
    words.write_text("one\n")
    rules = [{"note": {"log": str(words)}}]
    first = plan_of(rules=rules)
    words.write_text("two\n")
    assert first.fingerprint != plan_of(rules=rules).fingerprint
    assert str(words) in first.config["recipe"]["rules"][0]["files"]


def test_a_rule_that_comes_twice_is_told_apart(plan_of):
    assert [step[0] for step in plan_of(rules=["quiet", "short", "quiet"]).steps] == [
        "quiet",
        "short",
        "quiet-2",
    ]


def test_a_part_is_called_by_its_place(plan_of):
    assert str(plan_of().tasks[0]).startswith(f"{plan_of().tasks[0].part.path} (0 to ")


def test_differences_are_named_by_their_keys():
    before = {"a": {"b": 1, "c": 2}, "d": "same", "gone": True, "list": [{"x": 1}, {"y": 2}]}
    now = {"a": {"b": 1, "c": 3}, "d": "same", "come": "x" * 99, "list": [{"x": 1}, {"y": 3}, 4]}
    assert differences(before, now) == [
        "a.c: 2 then, 3 now", f"come: nothing then, {'x' * 57}... now", "gone: True then, nothing now",
        "list.1.y: 2 then, 3 now", "list.2: nothing then, 4 now",
    ]  # fmt: skip
