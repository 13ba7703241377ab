"""A prompt that clients use by its name: messages with placeholders, filled for each request."""

import re
from collections.abc import Mapping
from typing import Literal

import pydantic

from mainspring.artifact import Artifact
from mainspring.config import Config, build
from mainspring.errors import ConfigError, NotFoundError
from mainspring.registry import Registry
from mainspring.schema import Message

PLACEHOLDER = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")


class PromptMessage(Config):
    """One message of a prompt."""

    role: Literal["system", "developer", "user", "assistant"] = pydantic.Field(description="Who says it.")
    content: str = pydantic.Field(description="The text; {{name}} is filled with the variable of that name.")


class ChatPrompt(Config):
    """Messages that stand before what a client sends.

    >>> prompt = ChatPrompt(messages=({"role": "user", "content": "Greet {{name}}."},))
    >>> prompt.fill({"name": "Ada"})[0].content
    'Greet Ada.'
    """

    messages: tuple[PromptMessage, ...] = pydantic.Field(
        min_length=1, description="The messages, in the order in which the model sees them."
    )

    def placeholders(self) -> list[str]:
        """The names of the variables, in the order of their first places."""
        return list(
            dict.fromkeys(name for each in self.messages for name in PLACEHOLDER.findall(each.content))
        )

    def fill(self, variables: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages with `variables` in their places; what a variable holds is text, whatever stands in it.

        Raises:
            ConfigError: a placeholder without a variable, or a variable without a placeholder.

        """
        known = self.placeholders()
        said = (
            f"the prompt's placeholders are {', '.join(known)}" if known else "the prompt has no placeholder"
        )
        for name in known:
            if name not in variables:
                raise ConfigError(f"`variables` has no '{name}'; {said}. Give each a text.")
        for name in variables:
            if name not in known:
                raise ConfigError(f"`variables` has '{name}'; {said}. Leave '{name}' out.")
        return tuple(
            Message(
                "system" if each.role == "developer" else each.role,
                PLACEHOLDER.sub(lambda found: variables[found[1]], each.content),
            )
            for each in self.messages
        )


def is_chat_prompt(artifact: Artifact) -> bool:
    """Whether a prompt is one of these; an assistant's (template.py) is of another form."""
    return "messages" in artifact.config


def find(registry: Registry, name: str, version: str | None) -> tuple[str, ChatPrompt]:
    """The reference of a stored prompt, and the prompt; `version` is a number, a label, or None for the newest.

    Raises:
        NotFoundError: no such prompt or version; the message lists what there is.

    """
    there = [registry.get(reference) for reference in registry.list("prompt") if registry.has(reference)]
    there = [artifact for artifact in there if is_chat_prompt(artifact)]
    number = version and str(registry.labelled("prompt", name, version) or version)
    found = [each for each in there if each.name == name and number in (None, str(each.version))]
    if not found:
        wanted = f"{name}@{version}" if version else name
        known = ", ".join(each.reference for each in there) or "none; save one with `mainspring prompt save`"
        raise NotFoundError(f"There is no prompt '{wanted}' for chats; there is {known}.")
    return found[-1].reference, build(ChatPrompt, found[-1].config)
