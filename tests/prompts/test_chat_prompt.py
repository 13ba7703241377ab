import pytest

from mainspring.artifact import write
from mainspring.database import Database
from mainspring.errors import ConfigError, NotFoundError
from mainspring.prompts.chat_prompt import ChatPrompt, find
from mainspring.prompts.template import GroundedPrompt
from mainspring.registry import MIGRATION, Registry
from mainspring.schema import Message


def prompt(*contents, role="user"):
    return ChatPrompt.model_validate({"messages": [{"role": role, "content": each} for each in contents]})


def test_every_placeholder_is_filled_once_and_other_braces_stay():
    made = prompt("{{a}} and {{ b }}: {a} {{}} {{a b}}", "{{a}}")
    assert made.placeholders() == ["a", "b"]
    assert [each.content for each in made.fill({"a": "{{b}}", "b": r"\1"})] == [
        r"{{b}} and \1: {a} {{}} {{a b}}", "{{b}}",
    ]  # fmt: skip


def test_a_developer_speaks_as_the_system():
    assert prompt("x", role="developer").fill({}) == (Message("system", "x"),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": "x"}, "has no 'b'; the prompt's placeholders are a, b"),
        ({"a": "x", "b": "y", "c": "z"}, "has 'c'; the prompt's placeholders are a, b"),
    ],
)
def test_variables_and_placeholders_must_be_the_same(given, words):
    with pytest.raises(ConfigError, match=words):
        prompt("{{a}} {{b}}").fill(given)
    with pytest.raises(ConfigError, match="the prompt has no placeholder"):
        prompt("x").fill({"a": "x"})


def test_a_prompt_without_messages_is_none():
    with pytest.raises(ValueError, match="at least 1"):
        ChatPrompt(messages=())


@pytest.fixture
def registry(tmp_path):
    database = Database(tmp_path / "a.db", [MIGRATION])
    registry = Registry(database, tmp_path / "artifacts")
    for name, each in (("greet", prompt("a")), ("greet", prompt("b")), ("grounded", GroundedPrompt())):
        config = each.model_dump(mode="json")
        made = registry.add(write(registry.root, "prompt", name, lambda _: None, config=config))
        if made.version == 1:
            registry.label(made, "production", "it is the best")
    yield registry
    database.close()


@pytest.mark.parametrize(
    ("version", "found"), [(None, 2), ("1", 1), ("2", 2), ("production", 1)]
)  # fmt: skip
def test_a_prompt_is_found_by_its_number_its_label_or_as_the_newest(registry, version, found):
    reference, made = find(registry, "greet", version)
    assert reference == f"prompt/greet@{found}"
    assert made == prompt("ab"[found - 1])


@pytest.mark.parametrize(
    ("name", "version"),
    [("greet", "3"), ("greet", "staging"), ("none", None), ("grounded", None), ("../prompt/greet", "1")],
)
def test_what_is_not_there_or_of_the_other_kind_is_not_found(registry, name, version):
    with pytest.raises(NotFoundError, match="there is prompt/greet@1, prompt/greet@2"):
        find(registry, name, version)
