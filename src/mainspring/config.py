"""Configuration: one pydantic model a command, filled from YAML files and dotted overrides."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from mainspring.errors import ConfigError


class Config(pydantic.BaseModel):
    """The base of every configuration: unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


C = TypeVar("C", bound=Config)


def load(kind: type[C], files: Sequence[Path] = (), overrides: Sequence[str] = ()) -> C:
    """Fill `kind` from YAML `files` (later ones win), then from `overrides` such as "lora.rank=8".

    Raises:
        ConfigError: an unreadable file, an unknown key (with the nearest known one), a value of a wrong type.

    """
    values: dict[str, Any] = {}
    for file in files:
        _merge(values, _read(file))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"'-o {override}' has no '='. Write -o dotted.key=value.")
        try:
            nested: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"-o {override} has a value that is not YAML: {error}. Quote it: -o {key}='\"...\"'."
            ) from error
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        _merge(values, nested)
    return build(kind, values)


def build(kind: type[C], values: dict[str, Any]) -> C:
    """Check `values` against `kind`, speaking of every fault by its dotted key."""
    try:
        return kind.model_validate(_over_defaults(kind, values))
    except pydantic.ValidationError as error:
        raise ConfigError("\n".join(_explain(kind, fault) for fault in error.errors())) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(
            f"Configuration file {file} cannot be read ({error.strerror}). Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"Configuration file {file} is not UTF-8 text ({error}). Give a YAML file."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"Configuration file {file} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"Configuration file {file} holds a {type(values).__name__}; it must hold keys and values."
        )
    return values


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _over_defaults(defaults: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Lay what was given over the defaults of nested settings: setting one key leaves its siblings alone.

    `defaults` is a kind of configuration or, further in, the instance that is a field's default.
    """
    is_kind = isinstance(defaults, type)
    filled = {} if is_kind else {name: getattr(defaults, name) for name in type(defaults).model_fields}
    for name, value in given.items():
        field = defaults.model_fields.get(name) if is_kind else None
        inner = field.default if field else filled.get(name)
        is_nested = isinstance(inner, pydantic.BaseModel) and isinstance(value, dict)
        filled[name] = _over_defaults(inner, value) if is_nested else value
    return filled


def _explain(kind: type[pydantic.BaseModel], fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    dotted = ".".join(path)
    if fault["type"] != "extra_forbidden":
        return f"`{dotted}` is {fault['input']!r}: {fault['msg']}. Set it with -o {dotted}=VALUE."
    known = _keys_at(kind, path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1)
    hint = (
        f"did you mean `{'.'.join([*path[:-1], near[0]])}`?" if near else f"known keys: {', '.join(known)}."
    )
    return f"`{dotted}` is not a configuration key; {hint}"


def _keys_at(kind: type[pydantic.BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        annotation = kind.model_fields[part].annotation if part in kind.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)):
            return []
        kind = annotation
    return list(kind.model_fields)
