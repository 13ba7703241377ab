"""/openapi.json: every route of the application, with the very structs that bodies are decoded into.

What an operation does is said by its endpoint's docstring. A body's schema holds the fields that are accepted and
change nothing as well, and nothing else: what it does not name is refused by name. A field that need not be given
may be null, which says the same; so may one that is not known. openapi.json beside this file holds what no struct
says: queries, the fields that answers always have, media types.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from mainspring import __version__
from mainspring.serve import (
    anthropic_body,
    conversations,
    files,
    models,
    openai_body,
    own,
    responses_body,
    stored,
)
from mainspring.serve.base import Fault, respond
from mainspring.serve.body import Body

Schema = dict[str, Any]

BODIES: dict[str, type[Body]] = {
    "/v1/chat/completions": openai_body.ChatBody,
    "/v1/chat/completions/{completion}": stored.UpdateBody,
    "/v1/completions": openai_body.CompletionBody,
    "/v1/responses": responses_body.ResponseBody,
    "/v1/responses/input_tokens": responses_body.InputBody,
    "/v1/responses/compact": responses_body.CompactBody,
    "/v1/conversations": conversations.ConversationBody,
    "/v1/conversations/{conversation}": stored.UpdateBody,
    "/v1/conversations/{conversation}/items": conversations.ItemsBody,
    "/v1/messages": anthropic_body.MessagesBody,
    "/v1/messages/count_tokens": anthropic_body.CountBody,
    "/v1/load_lora_adapter": models.LoadBody,
    "/v1/unload_lora_adapter": models.UnloadBody,
    "/v1/embeddings": models.EmbeddingBody,
    "/v1/moderations": models.ModerationBody,
    "/v1/rerank": models.RerankBody, "/v2/rerank": models.RerankBody, "/rerank": models.RerankBody,
    "/v1/batches": files.BatchBody,
    "/tokenize": models.TokenizeBody,
    "/detokenize": models.DetokenizeBody,
    "/feedback": own.FeedbackBody,
}  # fmt: skip
HOLDERS = ("ChatBody", "TokenizeBody")  # of `messages`, which are decoded one by one
PARTS = msgspec.json.decode((Path(__file__).parent / "openapi.json").read_bytes())
QUERIES, PARAMETERS, ANSWERS = PARTS["queries"], PARTS["parameters"], PARTS["answers"]
MEDIA, EVENTS, FORMS, REFUSALS = PARTS["media"], PARTS["events"], PARTS["forms"], PARTS["refusals"]
TYPES = {name: kind for kind, names in PARTS["types"].items() for name in names}
REF = "#/components/schemas/{name}"


def show(request: Request) -> Response:
    """This document."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, says in _operations(request.app.routes):
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, says)
    return respond({
        "openapi": "3.1.0", "info": {"title": "Mainspring", "version": __version__}, "paths": paths,
        "security": [{}, {"key": []}],
        "components": {"schemas": _schemas(), "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    })  # fmt: skip


def _operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/{{path}}", "A file of the page."
        elif isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, route.path.replace(":path}", "}"), (route.endpoint.__doc__ or "").split("\n")[0]


def _operation(method: str, path: str, says: str) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    given = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", path)]),
        "parameters": given + [PARAMETERS[name] for name in QUERIES.get(f"{method} {path}", ())],
        "responses": _responses(method, path),
    }
    if says:
        operation["summary"] = says
    content = {"multipart/form-data": {"schema": FORMS[path]}} if path in FORMS else {}
    if path in BODIES:
        content["application/json"] = {"schema": {"$ref": REF.format(name=BODIES[path].__name__)}}
    if method == "POST" and content:
        operation["requestBody"] = {"required": True, "content": content}
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
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if path in {"/health", "/health/ready"}:
        responses["503"] = {"description": "Not ready.", "content": content}
    return responses | {str(status): refusal for status in REFUSALS[method]}


def _schemas() -> dict[str, Schema]:
    """The structs' schemas, strict as they are read; and errors in both dialects' shapes."""
    kinds = list(dict.fromkeys(BODIES.values()))
    _, found = msgspec.json.schema_components([*kinds, openai_body.WireMessage, Fault], ref_template=REF)
    schemas: dict[str, Schema] = dict(found)
    for kind in kinds:
        schema = schemas[kind.__name__]
        required, known = schema.get("required", ()), schema["properties"].items()
        free = {name: {"anyOf": [one, {"type": "null"}]} for name, one in known if name not in required}
        schema["properties"] |= free | {name: {} for name in (*kind.harmless, *kind.neutral)}
        schema["additionalProperties"] = {"type": "null"}
    _free_lonely_tags(schemas)
    messages = {"type": "array", "items": {"$ref": REF.format(name=openai_body.WireMessage.__name__)}}
    for name in HOLDERS:
        schemas[name]["properties"]["messages"] = messages
    return schemas | PARTS["errors"]


def _free_lonely_tags(schemas: dict[str, Schema]) -> None:
    """A part's `type` tells kinds apart; where there is only one kind it may be left out."""
    found = list(_dicts(schemas))
    among_others = {id(one) for each in found if "discriminator" in each for one in each["anyOf"]}
    for each in found:
        name = each.get("$ref", "").rpartition("/")[2]
        schema = schemas.get(name, {})
        tags = schema.get("properties", {}).get("type", {}).get("enum", ())
        if len(tags) == 1 and id(each) not in among_others:
            required = [field for field in schema["required"] if field != "type"]
            schemas[f"{name}Alone"] = schema | {"required": required}
            each["$ref"] += "Alone"


def _dicts(value: object) -> Iterator[Schema]:
    """All objects within a JSON value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(each)
