"""What may be searched over, and what is refused before anything is tried."""

import pytest

from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.train.search_settings import SearchSettings
from mainspring.train.search_space import Choice, Float, Integer, probes, put, values_of


def settings(**values):
    return build(SearchSettings, {"space": {"lr": {"kind": "float", "low": 0.1, "high": 1}}, **values})


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"space": {"a": {"kind": "float", "low": 2, "high": 1}}}, "`low` is 2.0 and `high` 1.0"),
        ({"space": {"a": {"kind": "float", "low": 0, "high": 1, "log": True}}}, "with `log` it must be above 0"),
        ({"space": {"a": {"kind": "int", "low": 1, "high": 9, "step": 2, "log": True}}}, "do not go together"),
        ({"space": {"a": {"kind": "floot", "low": 1, "high": 9}}}, "did you mean 'float'?"),
        ({"sampler": {"kind": "cmaes"}, "goals": [{}, {"metric": "parameters"}]}, "takes one goal"),
        ({"pruner": {"kind": "asha"}, "goals": [{}, {"metric": "parameters"}]}, "no trial can be pruned"),
        ({"trails": 3}, "did you mean `trials`?"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_followed_are_refused(values, wanted):
    with pytest.raises(ConfigError, match=wanted.replace("?", r"\?")):
        settings(**values)


def test_dotted_values_are_set_where_they_belong_and_nothing_else_changes():
    given = {"train": {"epochs": 2, "optim": {"lr": 1.0}}}
    assert put(given, {"train.optim.lr": 0.5, "model.width": 8}) == {
        "train": {"epochs": 2, "optim": {"lr": 0.5}}, "model": {"width": 8},
    }  # fmt: skip
    assert given["train"]["optim"]["lr"] == 1.0
    with pytest.raises(ConfigError, match="`model` is 'model/a', which has no keys"):
        put({"model": "model/a"}, {"model.width": 8})


def test_probes_move_one_key_each_to_its_other_end():
    space = {
        "a": Float(low=1, high=2),
        "b": Integer(low=1, high=8, step=3),
        "c": Choice(values=("x", {"y": 1})),
    }
    assert probes(space) == [
        {"a": 1, "b": 1, "c": "x"}, {"a": 2, "b": 1, "c": "x"}, {"a": 1, "b": 7, "c": "x"},
        {"a": 1, "b": 1, "c": {"y": 1}},
    ]  # fmt: skip
    assert values_of(space, {"c": '{"y": 1}', "a": 1.5}) == {"c": {"y": 1}, "a": 1.5}
