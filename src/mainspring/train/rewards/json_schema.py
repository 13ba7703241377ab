"""Whether an answer is JSON of a given shape (JSON Schema, https://json-schema.org)."""

import json
import re
from functools import cache
from typing import Any, Literal

from pydantic import Field, JsonValue

from mainspring.config import Config
from mainspring.errors import ConfigError, MissingExtraError
from mainspring.train.rewards.base import Reference, named

FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


class JsonSchema(Config):
    """1 for JSON of the schema; `only_json` for other JSON; 0 for what is no JSON.

    The answer may be a single fenced block. References of a schema to other addresses are never followed.
    """

    kind: Literal["json_schema"] = "json_schema"
    json_schema: dict[str, JsonValue] | None = Field(
        default=None, description="the schema; none takes the reference (or its `schema`), which is JSON text"
    )
    only_json: float = Field(default=0.0, ge=0, le=1, description="for JSON that is not of the schema")

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        text = json.dumps(self.json_schema) if self.json_schema else named(reference, "schema", self.kind)
        validator = _validator(text)
        fenced = FENCE.match(answer)
        try:
            value = json.loads(fenced[1] if fenced else answer, parse_constant=_refuse)
            is_valid = validator.is_valid(value)
        except (ValueError, RecursionError):  # no JSON, or nested deeper than anybody asked for
            return 0.0
        return 1.0 if is_valid else self.only_json


def _refuse(constant: str) -> None:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{constant} is no JSON")


@cache
def _validator(text: str) -> Any:
    try:
        import jsonschema.validators
        import referencing
    except ImportError:
        raise MissingExtraError("jsonschema", "rewards", "The reward 'json_schema'") from None
    try:
        schema = json.loads(text)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except (ValueError, jsonschema.SchemaError) as error:
        raise ConfigError(f"This is no JSON schema: {text[:200]!r} ({str(error)[:200]}).") from error
    return kind(schema, registry=referencing.Registry())
