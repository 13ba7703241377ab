from pathlib import Path

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
