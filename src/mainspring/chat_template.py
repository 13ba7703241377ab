"""Chat templates: a model's own Jinja text, compiled in a sandbox."""

import functools
import json
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.meta
import jinja2.sandbox

from mainspring.errors import TemplateError


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox leaves out in silence what a template may not print; this one says so."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        raise jinja2.exceptions.SecurityError(f"the attribute '{attribute}' of a {type(obj).__name__}")


@functools.lru_cache(maxsize=32)
def compile_template(source: str) -> jinja2.Template:
    """Compile a chat template in the sandbox.

    Raises:
        TemplateError: no template, or one with a syntax error (its line is named).

    """
    if not source:
        raise TemplateError(
            "This model has no chat template; use a model tuned for chat, or give it a template."
        )
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = _to_json
    environment.globals = {
        "raise_exception": _raise_exception,
        "namespace": jinja2.utils.Namespace,
        "range": _few,
    }
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"The chat template has a syntax error in line {error.lineno}: {error.message}."
        ) from error


@functools.lru_cache(maxsize=32)
def knows_tools(source: str) -> bool:
    """Whether a template reads the variable `tools`."""
    environment = _Sandbox(extensions=["jinja2.ext.loopcontrols"])
    compile_template(source)
    return "tools" in jinja2.meta.find_undeclared_variables(environment.parse(source))


def _to_json(value: Any, *, indent: int | None = None, **_: Any) -> str:
    """As published templates expect it: Jinja's own would write <, > and & for web pages."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> Any:
    raise jinja2.TemplateError(message)


def _few(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > jinja2.sandbox.MAX_RANGE:
        raise jinja2.exceptions.SecurityError(f"a range of {len(numbers):,} numbers")
    return numbers
