from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest

from mainspring.config import Config, build, load
from mainspring.errors import ConfigError


class Inner(Config):
    rank: int = pydantic.Field(default=8, ge=1)
    alpha: float = 16.0


class Outer(Config):
    lora: Inner = Inner()
    name: str = "plain"
    steps: int = 10


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_later_files_win_and_overrides_win_over_files(tmp_path: Path):
    first = written(tmp_path / "a.yaml", "lora: {rank: 4, alpha: 2.0}\nsteps: 5\n")
    second = written(tmp_path / "b.yaml", "lora: {rank: 16}\n")
    loaded = load(Outer, [first, second], ["steps=7", "name=tuned"])
    assert loaded == Outer(lora=Inner(rank=16, alpha=2.0), name="tuned", steps=7)


def test_a_dotted_override_reaches_inside_and_leaves_its_neighbors():
    assert load(Outer, overrides=["lora.rank=2", "lora.alpha=1"]).lora == Inner(rank=2, alpha=1.0)


def test_without_files_and_overrides_the_defaults_hold():
    assert load(Outer) == Outer()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lora.rnak=2", "`lora.rnak` is not a configuration key; did you mean `lora.rank`?"),
        ("stepz=2", "`stepz` is not a configuration key; did you mean `steps`?"),
        ("lora.zzzzzz=2", "`lora.zzzzzz` is not a configuration key; known keys: rank, alpha."),
        (
            "lora.rank=0",
            "`lora.rank` is 0: Input should be greater than or equal to 1. Set it with -o lora.rank=",
        ),
        ("steps=many", "`steps` is 'many': Input should be a valid integer"),
        ("steps", "'-o steps' has no '='. Write -o dotted.key=value."),
    ],
)
def test_a_wrong_override_is_named_with_what_to_do(override: str, message: str):
    with pytest.raises(ConfigError) as error:
        load(Outer, overrides=[override])
    assert message in str(error.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        build(Outer, {"stepz": 1, "lora": {"rank": 0}})
    assert "stepz" in str(error.value)
    assert "lora.rank" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("steps: [1,\n", "is not valid YAML"), ("- 1\n- 2\n", "holds a list; it must hold keys and values")],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message) as error:
        load(Outer, [written(tmp_path / "bad.yaml", text)])
    assert "bad.yaml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read"):
        load(Outer, [tmp_path / "absent.yaml"])


@pytest.mark.parametrize("override", ["steps=[1,", "steps={"])
def test_an_override_that_is_not_yaml_is_a_configuration_error(override: str):
    with pytest.raises(ConfigError, match="-o steps="):
        load(Outer, overrides=[override])


def test_a_file_that_is_not_text_is_named(tmp_path: Path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match=r"binary\.yaml"):
        load(Outer, [tmp_path / "binary.yaml"])


def test_setting_one_nested_key_leaves_the_siblings_defaults_alone():
    class Inner(Config):
        first: int = 1
        second: int = 2

    class Middle(Config):
        inner: Inner = Inner()
        size: int = 3

    class Outer(Config):
        middle: Middle = Middle(inner=Inner(first=10, second=20), size=30)

    loaded = load(Outer, overrides=["middle.inner.first=5"])
    assert loaded.middle.inner == Inner(first=5, second=20)
    assert loaded.middle.size == 30


class Fast(Config):
    kind: Literal["fast"] = "fast"
    speed: int = pydantic.Field(default=1, ge=1)
    inner: Inner = Inner()


class Slow(Config):
    kind: Literal["slow", "slowest"] = "slow"
    patience: int = 3
    inner: Inner = Inner(rank=5)


Pace = Annotated[Fast | Slow, pydantic.Field(discriminator="kind")]


class Trip(Config):
    pace: Pace = Fast(speed=7, inner=Inner(rank=2))
    spare: Pace | None = None
    legs: tuple[Pace, ...] = ()
    named: dict[str, Pace] = pydantic.Field(default_factory=dict)
    stops: int | Literal["none"] = 0


def test_another_kind_than_the_defaults_has_nothing_of_the_default():
    loaded = load(Trip, overrides=["pace.kind=slow", "pace.inner.alpha=1"])
    assert loaded.pace == Slow(inner=Inner(rank=5, alpha=1.0))


@pytest.mark.parametrize("overrides", [["pace.inner.alpha=1"], ["pace.kind=fast", "pace.inner.alpha=1"]])
def test_the_same_kind_is_laid_over_the_default(overrides: list[str]):
    assert load(Trip, overrides=overrides).pace == Fast(speed=7, inner=Inner(rank=2, alpha=1.0))


def test_settings_without_a_default_of_their_own_have_those_of_their_kind():
    given = {"kind": "slowest", "inner": {"alpha": 1.0}}
    expected = Slow(kind="slowest", inner=Inner(rank=5, alpha=1.0))
    built = build(Trip, {"spare": given, "legs": [given], "named": {"a": given}})
    assert (built.spare, built.legs, built.named) == (expected, (expected,), {"a": expected})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pace.kind=slwo", "`pace.kind` is 'slwo'; did you mean 'slow'? Known kinds: fast, slow, slowest."),
        ("pace.kind=9", "`pace.kind` is 9. Known kinds: fast, slow, slowest."),
        ("spare.patience=1", "`spare.kind` is missing. Known kinds: fast, slow, slowest."),
        (
            "pace={kind: slow, patiense: 1}",
            "`pace.patiense` is not a configuration key of kind 'slow'; did you",
        ),
        ("pace={kind: slow, zzzzzz: 1}", "of kind 'slow'; known keys: kind, patience, inner."),
        ("pace.speed=0", "`pace.speed` is 0: Input should be greater"),
        (
            "pace.inner.rnak=0",
            "`pace.inner.rnak` is not a configuration key; did you mean `pace.inner.rank`?",
        ),
        ("legs=[{kind: fast, speed: 0}]", "`legs.0.speed` is 0: Input"),
        ("legs=[{kind: fsat}]", "`legs.0.kind` is 'fsat'; did you mean 'fast'? Known"),
        ("named.a={kind: fast, inner: {rank: 0}}", "`named.a.inner.rank` is 0: Input"),
        ("stops=many", "`stops` is 'many': Input should be a valid integer"),
    ],
)
def test_faults_in_one_of_several_kinds_are_told_by_their_dotted_key(override: str, message: str):
    with pytest.raises(ConfigError) as error:
        load(Trip, overrides=[override])
    assert message in str(error.value)


def test_a_fault_of_several_keys_together_is_told_without_all_their_values():
    class Both(Config):
        low: int = 0
        high: int = 1

        @pydantic.model_validator(mode="after")
        def _check(self):
            if self.low > self.high:
                raise ValueError("`low` is above `high`; lower it.")
            return self

    class Whole(Config):
        both: Both = Both()

    with pytest.raises(ConfigError) as error:
        load(Whole, overrides=["both.low=2"])
    assert str(error.value) == "`both`: `low` is above `high`; lower it."
