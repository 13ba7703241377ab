"""What several dialects share: sampling fields, constraints, tools, and how log-probabilities are written.

Beyond OpenAI's own fields stand those of vLLM, with vLLM's names: top_k, min_p, typical_p, repetition_penalty,
min_tokens, ignore_eos, stop_token_ids, prompt_logprobs, best_of, use_beam_search, length_penalty, priority,
cache_salt, guided_json, guided_regex, guided_choice, guided_grammar, structured_outputs; and one of ours:
deadline_s, after which a request that is not done is given up.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from mainspring.schema import Ask, Constraint, Sampling, TokenLogprob, Tool
from mainspring.serve.base import FieldError
from mainspring.serve.body import Body, BodyPart, missing

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Id = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# a choice of tools is one of three words or a name, so none is named like them
Name = Annotated[str, Meta(pattern="^(?!(auto|none|required)$)[a-zA-Z0-9_.-]{1,128}$")]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
KEEP_S = 30 * 86_400  # how long what a client stored is kept
MAX_STOPS = 4
MAX_REPLIES = 128
MAX_TOOLS = 128
# how a client says, by vLLM's names, what the text must match
CONSTRAINTS: dict[str, Literal["json_schema", "regex", "choice", "lark"]] = {
    "guided_json": "json_schema", "guided_regex": "regex", "guided_choice": "choice", "guided_grammar": "lark",
    "structured_outputs.json": "json_schema", "structured_outputs.regex": "regex",
    "structured_outputs.choice": "choice", "structured_outputs.grammar": "lark",
}  # fmt: skip
LEAST_LOGPROB = -9999.0  # what OpenAI writes for what can't come: JSON has no infinity


class StructuredOutputs(BodyPart, frozen=True):
    """One of these says what the text must match."""

    json: str | dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


class JsonSchema(BodyPart, frozen=True):
    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(BodyPart, frozen=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(BodyPart, frozen=True):
    include_usage: bool = False
    include_obfuscation: bool = False


class SamplingFields(Body, frozen=True, kw_only=True):
    """Fields that mean the same wherever text is generated, called as schema.Sampling and schema.Ask call them."""

    model: str
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    stop_ids: tuple[Id, ...] | None = field(name="stop_token_ids", default=None)
    min_tokens: Count | None = None
    ignore_end: bool | None = field(name="ignore_eos", default=None)
    prompt_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_REPLIES)] | None = None
    best_of: Annotated[int, Meta(ge=0, le=MAX_REPLIES)] | None = None
    use_beam_search: bool = False
    length_penalty: Annotated[float, Meta(ge=-10, le=10)] = 1.0
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    deadline_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    salt: str = field(name="cache_salt", default="")
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = StructuredOutputs()
    guided_json: str | dict[str, Any] | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()


def overrides(body: Body, **more: Any) -> dict[str, Any]:
    """The fields of schema.Sampling that a client set: those of the body that are called so, and `more`."""
    given = {name: getattr(body, name, None) for name in Sampling.__struct_fields__} | more
    return {name: value for name, value in given.items() if value is not None}


def sampling_of(fields: SamplingFields, max_tokens: int | None, logprobs: int | None) -> dict[str, Any]:
    """What a client set of how tokens are chosen; these two are asked for in several ways."""
    sampling = overrides(
        fields, max_tokens=max_tokens, logprobs=logprobs, logit_bias=_biases(fields.logit_bias),
        top_k=None if fields.top_k is None else max(0, fields.top_k),
        stop=None if fields.stop is None else stops(fields.stop, "stop"),
    )  # fmt: skip
    if max_tokens is not None and (fields.min_tokens or 0) > max_tokens:
        raise FieldError(
            f"`min_tokens` is {fields.min_tokens}, more than `max_tokens`, which is {max_tokens}. Lower it."
        )
    return sampling


def ask_of(fields: SamplingFields, **more: Any) -> Ask:
    """What is asked besides messages and sampling; `more` are fields of schema.Ask that not every dialect has."""
    n = fields.n or 1
    best_of = fields.best_of or n  # 0 is how clients say "not given"
    if best_of < n:
        raise FieldError(f"`best_of` is {best_of}, less than `n`, which is {n}. Raise it, or leave it out.")
    if best_of > n and fields.stream:
        raise FieldError(
            "`best_of` is more than `n` with `stream`; the best is known at the end alone. Leave one out."
        )
    if fields.prompt_logprobs is not None and fields.stream:
        raise FieldError(
            "`prompt_logprobs` is set with `stream`, whose chunks have no place for it. Leave one out."
        )
    width = {"beams" if fields.use_beam_search else "best_of": best_of}
    return Ask(
        constraint=constraint(fields), n=n, length_penalty=fields.length_penalty, priority=fields.priority,
        deadline_s=fields.deadline_s, salt=fields.salt, **width, **more,
    )  # fmt: skip


def constraint(fields: SamplingFields) -> Constraint | None:
    """The one constraint that the fields name; FieldError for more than one, or one that says nothing."""
    form = fields.response_format
    named = {"response_format": format_constraint(form.type, form.json_schema) if form else None}
    for name, kind in CONSTRAINTS.items():
        value = attrgetter(name)(fields)
        value = _schema(name, value) if kind == "json_schema" else value
        named[name] = None if value is None else Constraint(kind=kind, value=value)
    if fields.structured_outputs is not None and fields.structured_outputs.json_object:
        named["structured_outputs.json_object"] = Constraint(kind="json_object")
    given = {name: one for name, one in named.items() if one is not None}
    if len(given) > 1:
        names = " and ".join(f"`{name}`" for name in given)
        raise FieldError(f"{names} are given; an output can match one. Send one.")
    name, one = next(iter(given.items()), ("", None))
    if one is not None and one.value in ([], ""):
        raise FieldError(f"`{name}` is empty; say what the output must match.")
    return one


def format_constraint(kind: str, schema: JsonSchema | None) -> Constraint | None:
    """The constraint of a response format; a schema that is not given is any JSON object."""
    if kind == "json_schema" and schema is None:
        raise missing("response_format.json_schema", "Add it with a `name` and a `schema`.")
    if kind == "text":
        return None
    value = schema.schema if schema and kind == "json_schema" else None
    return Constraint(kind="json_object" if value is None else "json_schema", value=value)


def _schema(name: str, value: str | dict[str, Any] | None) -> dict[str, Any] | None:
    """A JSON Schema that may have come as text."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise FieldError(f"`{name}` is text but no JSON: {error}. Send a JSON Schema.") from None
    if value is not None and not isinstance(value, dict):
        raise FieldError(f"`{name}` is no object; a JSON Schema is one. Change it.")
    return value


def stops(stop: str | Sequence[str], name: str, most: int = MAX_STOPS) -> tuple[str, ...]:
    given = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(given) > most or any(not text for text in given):
        raise FieldError(
            f"`{name}` is {list(given)!r}; it must be one to {most} strings, none of them empty. "
            "Change it or leave it out."
        )
    return given


def _biases(given: dict[str, float] | None) -> dict[int, float] | None:
    """Biases by token id; one of 0 changes nothing, whatever it is called."""
    if not given:
        return None
    biases = {name: bias for name, bias in given.items() if bias}
    for name in biases:
        if not (name.isascii() and name.isdigit() and len(name) < 10):
            raise FieldError(
                f'`logit_bias` names {name!r}; its names must be token ids, such as "42". Change it.'
            )
    return {int(name): bias for name, bias in biases.items()}


def check_tools(tools: Sequence[Tool], choice: str) -> None:
    """Raise FieldError for tools that are too many or share a name, or a choice of what is not there."""
    names = [tool.name for tool in tools]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(names) > MAX_TOOLS:
        said = f"names {twice[0]!r} twice" if twice else f"holds {len(names)} tools; {MAX_TOOLS} is the most"
        raise FieldError(f"`tools` {said}. Change it.")
    if choice not in {"auto", "none", *names} and not (choice == "required" and names):
        raise FieldError(
            f"`tool_choice` is '{choice}', and `tools` holds {', '.join(names) or 'none'}. Name one of them."
        )


def logprob_row(one: TokenLogprob) -> dict[str, Any]:
    """A token's log-probability with its alternatives, as chats write it."""
    return {**_logprob(one), "top_logprobs": [_logprob(other) for other in one.alternatives]}


def _logprob(one: TokenLogprob) -> dict[str, Any]:
    return {
        "token": one.text, "logprob": max(one.logprob, LEAST_LOGPROB),
        "bytes": list(one.bytes or one.text.encode(errors="replace")),
    }  # fmt: skip
