"""/openapi.json: every route of the application, with the very structs that bodies are decoded into.

What an operation does is said by its endpoint's docstring. A body's schema holds the fields that are accepted and
change nothing as well, and nothing else: what it does not name is refused by name. A field that need not be given
may be null, which says the same; so may one that is not known. openapi.json beside this file holds what no struct
says: queries, the fields that answers always have, media types.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from mainspring import __version__
from mainspring.serve import anthropic_body, files, models, openai_body, own, responses_body, stored, tokens
from mainspring.serve.base import Fault, respond
from mainspring.serve.body import Body

Schema = dict[str, Any]

KINDS: dict[str, type[Body]] = {
    "/v1/chat/completions": openai_body.ChatBody,
    "/v1/chat/completions/{completion}": stored.UpdateBody,
    "/v1/completions": openai_body.CompletionBody,
    "/v1/responses": responses_body.ResponseBody,
    "/v1/responses/input_tokens": responses_body.InputBody,
    "/v1/responses/compact": responses_body.CompactBody,
    "/v1/messages": anthropic_body.MessagesBody,
    "/v1/messages/count_tokens": anthropic_body.CountBody,
    "/v1/embeddings": models.EmbeddingBody,
    "/v1/moderations": models.ModerationBody,
    "/v1/rerank": models.RerankBody, "/v2/rerank": models.RerankBody, "/rerank": models.RerankBody,
    "/v1/batches": files.BatchBody,
    "/tokenize": tokens.TokenizeBody,
    "/detokenize": tokens.DetokenizeBody,
    "/feedback": own.FeedbackBody,
}  # fmt: skip
BODIES = {path: (kind, {*kind.harmless, *kind.neutral}) for path, kind in KINDS.items()}
INNER = {
    ("ChatBody", "messages"): openai_body.WireMessage,
    ("TokenizeBody", "messages"): openai_body.WireMessage,
}
PARTS = msgspec.json.decode((Path(__file__).parent / "openapi.json").read_bytes())
QUERIES, PARAMETERS, ANSWERS = PARTS["queries"], PARTS["parameters"], PARTS["answers"]
MEDIA, EVENTS = PARTS["media"], PARTS["events"]
TYPES = {name: kind for kind, names in PARTS["types"].items() for name in names}
REFUSALS = (400, 401, 403, 404, 405, 500)
BODY_REFUSALS = (408, 413, 429)
REF = "#/components/schemas/{name}"


def show(request: Request) -> Response:
    """This document."""
    return respond(document(request.app.routes))


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The OpenAPI document of an application's routes."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, says in _operations(routes):
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, says)
    return {
        "openapi": "3.1.0", "info": {"title": "Mainspring", "version": __version__}, "paths": paths,
        "security": [{}, {"key": []}],
        "components": {"schemas": _schemas(), "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/{{path}}", "A file of the page."
        elif isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, route.path.replace(":path}", "}"), (route.endpoint.__doc__ or "").split("\n")[0]


def _operation(method: str, path: str, says: str) -> dict[str, Any]:
    named = re.findall(r"{(\w+)}", path)
    given: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named
    ]
    for name in QUERIES.get(path, ()) if method == "GET" else ():
        style = {"style": "deepObject", "explode": True} if name == "metadata" else {}
        schema = PARAMETERS.get(f"{path} {name}") or PARAMETERS.get(name, {"type": "string"})
        given.append({"name": name, "in": "query", "schema": schema, **style})
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", path)]), "parameters": given,
        "responses": _responses(method, path),
    }  # fmt: skip
    operation |= {"summary": says} if says else {}
    if method == "POST" and path in BODIES:
        schema = {"$ref": REF.format(name=BODIES[path][0].__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif (method, path) == ("POST", "/v1/files"):
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": PARTS["form"]}},
        }
    return operation


def _responses(method: str, path: str) -> dict[str, Any]:
    answer: Schema = {"type": "string"} if path in MEDIA else {"type": "object"}
    if names := ANSWERS.get(f"{method} {path}"):
        properties = {name: {"type": TYPES.get(name, "string")} for name in names}
        answer |= {"required": names, "properties": properties}
    content: dict[str, Any] = {MEDIA.get(path, "application/json"): {"schema": answer}}
    if f"{method} {path}" in EVENTS:
        content["text/event-stream"] = {}
    error = {"$ref": REF.format(name="MessagesError" if path.startswith("/v1/messages") else "Error")}
    refusal = {"description": "Why not.", "content": {"application/json": {"schema": error}}}
    statuses = (*REFUSALS, *BODY_REFUSALS) if method == "POST" else REFUSALS
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if path in {"/health", "/health/ready"}:
        responses["503"] = {"description": "Not ready.", "content": content}
    return responses | {str(status): refusal for status in statuses}


def _schemas() -> dict[str, Schema]:
    """The structs' schemas, strict as they are read; and errors in both dialects' shapes."""
    kinds = dict(BODIES.values())
    _, found = msgspec.json.schema_components([*kinds, *INNER.values(), Fault], ref_template=REF)
    schemas: dict[str, Schema] = dict(found)
    for kind, accepted in kinds.items():
        schema = schemas[kind.__name__]
        required, known = schema.get("required", ()), schema["properties"].items()
        free = {name: {"anyOf": [one, {"type": "null"}]} for name, one in known if name not in required}
        schema["properties"] |= free | {name: {} for name in accepted}
        schema["additionalProperties"] = {"type": "null"}
    _free_lonely_tags(schemas)
    for (kind, field), inner in INNER.items():
        items = {"type": "array", "items": {"$ref": REF.format(name=inner.__name__)}}
        schemas[kind]["properties"][field] = items
    schemas["Error"] = _wrapped({"$ref": REF.format(name="Fault")})
    kind_and_message = {"type": "object", "required": ["type", "message"]}
    schemas["MessagesError"] = _wrapped(kind_and_message) | {"title": "an error of the Messages dialect"}
    return schemas


def _free_lonely_tags(schemas: dict[str, Schema]) -> None:
    """A part's `type` tells kinds apart; where there is only one kind it may be left out."""
    found = list(_dicts(schemas))
    among_others = {id(one) for each in found if "discriminator" in each for one in each["anyOf"]}
    tagged = {
        REF.format(name=name): (name, schema)
        for name, schema in schemas.items()
        if len(schema.get("properties", {}).get("type", {}).get("enum", ())) == 1
    }
    for each in found:
        if each.get("$ref") in tagged and id(each) not in among_others:
            name, schema = tagged[each["$ref"]]
            optional = [field for field in schema["required"] if field != "type"]
            schemas[f"{name}Alone"] = schema | {"required": optional}
            each["$ref"] += "Alone"


def _dicts(value: object) -> Iterator[Schema]:
    """All objects within a JSON value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(each)


def _wrapped(error: Mapping[str, Any]) -> Schema:
    return {"type": "object", "required": ["error"], "properties": {"error": error}}
