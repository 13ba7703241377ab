"""The document of the endpoints: whole, valid, and strict as the server is."""

import jsonschema
import pytest
from starlette.routing import Mount
from starlette.testclient import TestClient

from mainspring.serve.openapi import ANSWERS, BODIES, EVENTS, FORMS, HOLDERS, MEDIA, QUERIES

BODILESS = {"/v1/responses/{response}/cancel", "/v1/batches/{batch}/cancel"}


@pytest.fixture
def door(spoken):
    return TestClient(spoken.app, base_url="http://127.0.0.1")


@pytest.fixture
def document(door):
    return door.get("/openapi.json").json()


def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def references(value):
    if isinstance(value, dict):
        found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        found += list(value.get("discriminator", {}).get("mapping", {}).values())
        return found + [each for one in value.values() for each in references(one)]
    return [each for one in value for each in references(one)] if isinstance(value, list) else []


def test_every_route_of_the_application_is_in_the_document(spoken, document):
    there = set(operations(document))
    for route in spoken.app.routes:
        path = route.path.replace(":path}", "}")
        methods = {"GET"} if isinstance(route, Mount) else route.methods - {"HEAD"}
        path = f"{path}/{{path}}" if isinstance(route, Mount) else path
        assert {f"{method} {path}" for method in methods} <= there
    assert there >= {*ANSWERS, *EVENTS, *QUERIES}  # and the tables speak of no other
    assert set(document["paths"]) >= {*BODIES, *FORMS, *MEDIA}
    assert all(operation in ANSWERS or path_of(operation) in MEDIA for operation in there - REFUSED)


REFUSED = {"POST /v1/moderations"}


def path_of(operation):
    return operation.split(" ", 1)[1]


def test_the_document_is_valid(document):
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    each = operations(document)
    assert len({operation["operationId"] for operation in each.values()}) == len(each)
    for name, operation in each.items():
        parameters = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert parameters == {part.strip("{}") for part in name.split("/") if part.startswith("{")}
        assert {"200", "400", "401", "403", "404", "405", "500"} <= set(operation["responses"])
        if name.startswith("POST") and path_of(name) not in BODILESS:
            assert operation["requestBody"]["required"]


def test_the_schemas_are_those_of_the_structs_and_name_all_that_is_accepted(document):
    schemas = document["components"]["schemas"]
    chat = schemas["ChatBody"]
    assert chat["required"] == ["model", "messages"]
    assert chat["properties"]["temperature"]["anyOf"][0]["anyOf"][0] == {
        "type": "number",
        "minimum": 0,
        "maximum": 2,
    }
    assert chat["properties"]["messages"]["items"] == {"$ref": "#/components/schemas/WireMessage"}
    assert {"user", "modalities"} <= set(chat["properties"])
    assert set(HOLDERS) <= set(schemas)
    for kind in BODIES.values():
        assert schemas[kind.__name__]["additionalProperties"] == {"type": "null"}
    assert schemas["TextBlock"]["required"] == ["type", "text"]
    assert schemas["TextBlockAlone"]["required"] == ["text"]


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("POST /v1/chat/completions", {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}),
        ("POST /v1/completions", {"model": "gpt", "prompt": "x"}),
        ("POST /v1/responses", {"model": "gpt", "input": "x"}),
        ("POST /v1/conversations", {"items": [{"role": "user", "content": "x"}]}),
        ("POST /v1/messages", {"model": "gpt", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}),
        ("POST /v1/embeddings", {"model": "bytes", "input": "x"}),
        ("POST /v1/rerank", {"model": "overlap", "query": "x", "documents": ["x"]}),
        ("POST /tokenize", {"model": "gpt", "prompt": "x"}),
        ("GET /v1/models", None), ("GET /v1/files", None), ("GET /v1/batches", None), ("GET /health", None),
    ],
)  # fmt: skip
def test_answers_and_errors_match_their_schemas(door, document, operation, body):
    method, path = operation.split(" ", 1)
    told = operations(document)[operation]["responses"]

    def check(answer):
        schema = told[str(answer.status_code)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})

    answer = door.request(method, path, json=body)
    assert answer.status_code == 200
    check(answer)
    if body is not None:
        for wrong in ({**body, "nothing": 1}, {**body, next(iter(body)): {"a": 1}}):
            answer = door.post(path, json=wrong)
            assert answer.status_code == 400
            check(answer)
