"""Configuration: one pydantic model a command, filled from YAML files and dotted overrides."""

import copy
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

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
    return changed(kind, values, overrides)


def changed(kind: type[C], values: Mapping[str, Any], overrides: Sequence[str]) -> C:
    """Fill `kind` from values as they were stored, with `overrides` such as "lora.rank=8" over them.

    Raises:
        ConfigError: as `load`.

    """
    values = copy.deepcopy(dict(values))
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


def _over_defaults(defaults: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what was given over the defaults of nested settings: setting one key leaves its siblings alone.

    `defaults` is a kind of configuration or, further in, the instance that is a field's default.
    """
    is_kind = isinstance(defaults, type)
    fields = (defaults if is_kind else type(defaults)).model_fields
    filled = {} if is_kind else {name: getattr(defaults, name) for name in fields}
    for name, value in given.items():
        if name in fields:
            default = fields[name].default if is_kind else filled[name]
            filled[name] = _fill(value, default, fields[name].annotation)
        else:
            filled[name] = value
    return filled


def _fill(value: Any, default: Any, annotation: Any) -> Any:
    """A field's value with the defaults of all settings in it."""
    if isinstance(value, list):
        return [_fill(each, None, _inside(annotation, index)) for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    settings = [each for each in _members(annotation) if _is_settings(each)]
    if not settings and not isinstance(default, pydantic.BaseModel):
        return {key: _fill(each, None, _inside(annotation, key)) for key, each in value.items()}
    wanted = value.get("kind")
    chosen = [each for each in settings if wanted in _kinds(each)] or settings
    if isinstance(default, pydantic.BaseModel) and (wanted is None or isinstance(default, tuple(chosen))):
        return _over_defaults(default, value)  # another kind than the default's has nothing of it
    return _over_defaults(chosen[0], value) if len(chosen) == 1 else value


def _members(annotation: Any) -> list[Any]:
    """The types that a value may have, None aside."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [member for each in get_args(annotation) for member in _members(each)]
    return [] if annotation in (None, NoneType) else [annotation]


def _inside(annotation: Any, key: Any) -> Any:
    """The annotation of what stands under `key`, None where that is not known."""
    for each in _members(annotation):
        arguments = get_args(each)
        if _is_settings(each):
            if key in each.model_fields:
                return each.model_fields[key].annotation
        elif len(arguments) == 2 and arguments[1] is not Ellipsis and isinstance(key, str):
            return arguments[1]  # a mapping
        elif arguments and isinstance(key, int):
            return arguments[key] if get_origin(each) is tuple and Ellipsis not in arguments else arguments[0]
    return None


def _is_settings(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _kinds(settings: Any) -> tuple[Any, ...]:
    """The values of `kind` that say that a member of a union is meant."""
    field = settings.model_fields.get("kind") if _is_settings(settings) else None
    return get_args(field.annotation) if field else ()


def _explain(kind: type[pydantic.BaseModel], fault: Any) -> str:
    path, at = _place(kind, fault["loc"])
    dotted = ".".join(path)
    if fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _explain_kind(dotted, at, fault["input"])
    if fault["type"] == "value_error" and isinstance(fault["input"], dict):  # of several keys together
        return f"`{dotted}`: {fault['ctx']['error']}" if path else str(fault["ctx"]["error"])
    if fault["type"] != "extra_forbidden":
        return f"`{dotted}` is {fault['input']!r}: {fault['msg']}. Set it with -o {dotted}=VALUE."
    known = list(at[0].model_fields) if at and _is_settings(at[0]) else []
    of_kind = f" of kind '{_kinds(at[0])[0]}'" if at and _kinds(at[0]) else ""
    near = difflib.get_close_matches(path[-1], known, n=1)
    hint = (
        f"did you mean `{'.'.join([*path[:-1], near[0]])}`?" if near else f"known keys: {', '.join(known)}."
    )
    return f"`{dotted}` is not a configuration key{of_kind}; {hint}"


def _explain_kind(dotted: str, at: Sequence[Any], given: Any) -> str:
    known = [kind for each in at for kind in _kinds(each)]
    wanted = given.get("kind") if isinstance(given, dict) else None
    near = difflib.get_close_matches(str(wanted), known, n=1)
    said = f"is {wanted!r}; did you mean '{near[0]}'?" if near else f"is {wanted!r}."
    return f"`{dotted}.kind` {said if wanted is not None else 'is missing.'} Known kinds: {', '.join(known)}."


def _place(kind: type[pydantic.BaseModel], place: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """The keys of a fault's place, without the tags that pydantic puts between them for the members of a union,
    and the types that may hold the last key (that the last key may have, if it has a faulty `kind`).
    """
    path: list[str] = []
    at, holder = [kind], [kind]
    for part in place:
        if len(at) > 1:
            holder = at = [
                each for each in at if part in _kinds(each) or part == getattr(each, "__name__", "")
            ]
            continue
        path.append(str(part))
        holder = at
        at = _members(_inside(at[0], part)) if at else []
    return path, at if len(at) > 1 else holder
