"""Constrained output: which ids may come next, so that the text matches a schema, a regex, a grammar or a choice.

Constraint -> Grammars.compile (by the caller's thread, cached) -> Grammar -> start, one a sequence
Grammar: forced ids skip the model; otherwise mask -> sampling -> accept

llguidance does the work (Earley parser over derivatives of regular expressions). JSON comes with ", " and ": "
between its parts, as Python writes it, and no other white space, so that most of the syntax is forced.
"""

import functools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mainspring.errors import ConfigError
from mainspring.schema import Constraint
from mainspring.tokenizer.base import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MAX_CACHED = 256
MAX_CHARACTERS = 1_000_000
JSON_OPTIONS: Any = {
    "lenient": False,
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}

IGNORED = frozenset(("divisibleBy", "disallow", "extends"))
"""Keywords of old drafts that llguidance passes over in silence."""

SCHEMAS = (
    "additionalProperties", "additionalItems", "items", "not", "if", "then", "else", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "extends", "disallow", "allOf", "anyOf", "oneOf", "prefixItems",
)  # fmt: skip
"""Keywords of a schema or a list of schemas."""
NAMED_SCHEMAS = (
    "properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies",
)  # fmt: skip
UNWRITABLE = ("NoExtensionBias", "doesn't satisfy the grammar; forced bytes")
"""How llguidance says that no id begins as the text must go on: many vocabularies lack some bytes."""
ASCII_CLASSES = {r"\d": "[0-9]", r"\D": "[^0-9]", r"\w": "[0-9A-Za-z_]", r"\W": "[^0-9A-Za-z_]"}
"""What ECMA-262, and so JSON Schema, means by these; llguidance takes the digits and letters of all scripts."""


class Grammar:
    """A compiled constraint, and where a sequence stands in it.

    Every method raises ConfigError where the grammar outgrows its limits, or comes to a text that the tokenizer has
    no ids for; that ends the request alone.
    """

    def __init__(self, matcher: "LLMatcher") -> None:
        self._matcher = matcher

    def start(self) -> "Grammar":
        """One for a sequence to go through; what was compiled stays at the beginning for all who ask for it."""
        return Grammar(self._matcher.deep_copy())

    @property
    def is_done(self) -> bool:
        """The text is whole and nothing but an end may follow."""
        return self._matcher.is_stopped()

    def mask(self) -> np.ndarray:
        """The ids that may come now, one bit each, the lowest bit first; an end among them where the text is whole."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint32)
        self._check()
        return bits

    def accept(self, token_id: int) -> None:
        """Go on by an id that was chosen or forced."""
        self._matcher.consume_token(token_id)
        self._check()

    def forced(self) -> list[int]:
        """The ids that must come now because no other text may; accept each of them too."""
        return self._matcher.compute_ff_tokens()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ConfigError(
                f"The grammar of this reply went wrong: {_why(self._matcher.get_error())}. Use a simpler one."
            )


class Grammars:
    """Compiles constraints for one tokenizer and keeps the last ones. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._compiled = functools.lru_cache(MAX_CACHED)(self._build)

    def compile(self, constraint: Constraint) -> Grammar:
        """The grammar of a constraint; takes milliseconds, so call it from the thread that asks, not the engine's.

        Raises:
            ConfigError: what does not compile, or could not be held to; it names the part.

        """
        try:
            key = json.dumps([constraint.kind, constraint.value], default=str)
            if len(key) > MAX_CHARACTERS:
                raise ConfigError(
                    f"The {constraint.kind} constraint has {len(key):,} characters; {MAX_CHARACTERS:,} is the limit."
                )
            return self._compiled(key)
        except RecursionError as error:
            raise ConfigError(
                f"The {constraint.kind} constraint is nested too deep. Use a flatter one."
            ) from error

    def _build(self, key: str) -> Grammar:
        """Compile a constraint from its JSON text, which tells whether it was compiled before."""
        from llguidance import LLMatcher, LLParserLimits

        kind, value = json.loads(key)
        constraint = Constraint(kind=kind, value=value)
        source = _source(constraint)
        limits = LLParserLimits(verbose_errors=False)
        matcher = LLMatcher(self._vocabulary, source, log_level=0, limits=limits)
        matcher.compute_bitmask()
        # a warning tells of a part that would be passed over
        for said in (*matcher.get_grammar_warnings(), matcher.get_error(), _end_of_forced(matcher)):
            if said:
                raise _refusal(constraint, said)
        return Grammar(matcher)

    @functools.cached_property
    def _vocabulary(self) -> "LLTokenizer":
        from llguidance import LLTokenizer

        if not self._tokenizer.end_ids:
            raise ConfigError(
                "This model's tokenizer has no end token, so constrained output could not end. Give it an eos token."
            )
        try:
            return LLTokenizer(self._tokenizer.source, eos_token=list(self._tokenizer.end_ids))
        except ValueError as error:
            raise ConfigError(
                f"Output of this model cannot be constrained: its tokenizer is of another kind ({error})."
            ) from error


def _source(constraint: Constraint) -> str:
    """The constraint in llguidance's own form."""
    from llguidance import LLMatcher

    kind, value = constraint.kind, constraint.value
    if kind == "json_object":
        return LLMatcher.grammar_from_json_schema({"type": "object"}, overrides=JSON_OPTIONS)
    if kind == "json_schema":
        if not isinstance(value, dict):
            raise ConfigError(
                f"The JSON Schema is {json.dumps(value, default=str)[:80]}; it must be an object."
            )
        return LLMatcher.grammar_from_json_schema(_prepared(value), overrides=JSON_OPTIONS)
    if kind == "choice":
        if not value or not all(isinstance(each, str) and each for each in value):
            raise ConfigError(
                f"The choice is among {value!r:.80}; it must be a list of texts that are not empty."
            )
        return LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, value)))
    if not isinstance(value, str) or not value:
        raise ConfigError(f"The {kind} constraint is {value!r:.80}; it must be text that is not empty.")
    if kind == "regex":
        return LLMatcher.grammar_from_regex(_ascii(value))
    return LLMatcher.grammar_from_lark(value)


def _ascii(pattern: str) -> str:
    """The same regex with the classes of ASCII; a class may stand within another one."""
    return re.sub(r"\\.", lambda escape: ASCII_CLASSES.get(escape[0], escape[0]), pattern, flags=re.DOTALL)


def _prepared(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, changed to have the classes of ASCII in its patterns; ConfigError for a keyword of IGNORED."""
    for place, part in _parts(schema):
        for word in IGNORED.intersection(part):
            raise ConfigError(
                f"The JSON Schema at {place} has the keyword '{word}' of an old draft, which cannot be held to. "
                "Say it with keywords of draft 4 or later."
            )
        if isinstance(pattern := part.get("pattern"), str):
            part["pattern"] = _ascii(pattern)
        if isinstance(named := part.get("patternProperties"), dict):
            part["patternProperties"] = {_ascii(name): each for name, each in named.items()}
    return schema


def _end_of_forced(matcher: "LLMatcher") -> str:
    """The error at the end of what must come first, of a copy that goes there."""
    ahead = matcher.deep_copy()
    ahead.consume_tokens(ahead.compute_ff_tokens())
    if not ahead.is_stopped():
        ahead.compute_bitmask()
    return ahead.get_error()


def _refusal(constraint: Constraint, said: str) -> ConfigError:
    """Says what does not compile and, of a schema, where it stands."""
    parts = _parts(constraint.value)
    places = (f" at {place}" for place, part in parts if any(f'"{word}"' in said for word in part))
    return ConfigError(
        f"The {constraint.kind} constraint{next(places, '')} cannot be held to, so it is refused: "
        f"{_why(said)}. Leave that part out or say it otherwise."
    )


def _parts(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with its JSON pointer, the outer ones first."""
    todo = [("#", schema)]
    while todo:
        place, part = todo.pop(0)
        if isinstance(part, list):
            todo += [(f"{place}/{index}", each) for index, each in enumerate(part)]
        elif isinstance(part, dict):
            todo += [(f"{place}/{word}", part.get(word)) for word in SCHEMAS]
            for word in NAMED_SCHEMAS:
                named = part.get(word)
                if isinstance(named, dict):
                    todo += [(f"{place}/{word}/{name}", each) for name, each in named.items()]
            yield place, part


def _why(text: str) -> str:
    """What llguidance says, in one line."""
    if any(sign in text for sign in UNWRITABLE):
        return "it asks for text that this model's tokenizer has no ids for"
    lines = [line.strip(" ^") for line in text.splitlines()]
    return " ".join(line for line in lines if line)[:300].rstrip(".")
