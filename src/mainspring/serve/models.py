"""What models are there, and what they do besides chatting: /v1/models, /v1/embeddings, /v1/rerank in the shapes
of Cohere and Jina, /tokenize, /detokenize, /tokenizer_info in vLLM's; and why there are no moderations.

/v1/load_lora_adapter and /v1/unload_lora_adapter are vLLM's too, with its answers and its statuses; that the same is
loaded again is no error here. `lora_path` names an adapter of the workspace, never a path; `load_inplace` is refused,
because a name keeps its meaning until it is unloaded, and so is `is_3d_lora_weight`; `lora_int_id` changes nothing.
DELETE /v1/models/NAME does what unloading does, and refuses everything else.

Of a model's row one field is ours: `mainspring`, which says what it is for. `user` of embeddings and
`max_chunks_per_doc`, `max_tokens_per_doc` and `truncate` of rerankings are accepted and change nothing: texts
are read as far as the model reads. The ids of a prompt to /tokenize are those that /v1/completions continues:
without a template, without a special token in front.
"""

import base64
import time
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mainspring.errors import NotFoundError
from mainspring.gateway.base import Directory, ServedAdapter, is_text_model
from mainspring.gateway.pipeline import Pipeline
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError, authenticate, bearer, listing, respond
from mainspring.serve.fields import Id
from mainspring.serve.openai import UNMODERATED
from mainspring.serve.openai_body import ChatBody, chat_request

MAX_INPUTS = 2048


class EmbeddingBody(bodies.Body, frozen=True, kw_only=True):
    harmless = frozenset({"user"})
    model: str
    input: str | list[str | Id | list[Id]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class Document(msgspec.Struct, frozen=True):
    text: str


class RerankBody(bodies.Body, frozen=True, kw_only=True):
    harmless = frozenset({"max_chunks_per_doc", "max_tokens_per_doc", "truncate", "user"})
    model: str
    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | Document], Meta(min_length=1, max_length=MAX_INPUTS)]
    top_n: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    return_documents: bool = False


class ModerationBody(bodies.Body, frozen=True, kw_only=True):
    input: str | list[str | dict[str, Any]]
    model: str | None = None


class TokenizeBody(bodies.Body, frozen=True, kw_only=True):
    neutral: ClassVar = {"add_special_tokens": False, "add_generation_prompt": True}
    model: str
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    return_token_strs: bool = False


class DetokenizeBody(bodies.Body, frozen=True, kw_only=True):
    model: str
    tokens: list[Id]


class LoadBody(bodies.Body, frozen=True, kw_only=True):
    neutral: ClassVar = {"load_inplace": False, "is_3d_lora_weight": False}
    lora_name: Annotated[str, Meta(min_length=1, max_length=256)]
    lora_path: str


class UnloadBody(bodies.Body, frozen=True, kw_only=True):
    harmless = frozenset({"lora_int_id"})
    lora_name: str


class Models:
    """The endpoints of what is served besides text that is generated."""

    def __init__(self, pipeline: Pipeline, directory: Directory) -> None:
        self._pipeline, self._directory = pipeline, directory
        self._created = int(time.time())

    def routes(self) -> list[Route]:
        rerank = bodies.reading(RerankBody, self.rerank)
        return [
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{name:path}", self.model, methods=["GET"]),
            Route("/v1/models/{name:path}", self.delete, methods=["DELETE"]),
            Route("/v1/load_lora_adapter", bodies.reading(LoadBody, self.load), methods=["POST"]),
            Route("/v1/unload_lora_adapter", bodies.reading(UnloadBody, self.unload), methods=["POST"]),
            Route("/v1/moderations", self.moderate, methods=["POST"]),
            Route("/v1/embeddings", bodies.reading(EmbeddingBody, self.embeddings), methods=["POST"]),
            *(Route(path, rerank, methods=["POST"]) for path in ("/v1/rerank", "/v2/rerank", "/rerank")),
            Route("/tokenize", bodies.reading(TokenizeBody, self.tokenize), methods=["POST"]),
            Route("/detokenize", bodies.reading(DetokenizeBody, self.detokenize), methods=["POST"]),
            Route("/tokenizer_info", self.tokenizer_info, methods=["GET"]),
        ]

    def embeddings(self, request: Request, body: EmbeddingBody) -> Response:
        done = self._pipeline.embed(body.model, _inputs(body.input), bearer(request), body.dimensions)
        rows = np.asarray(done.vectors, dtype="<f4")
        data = [
            {"object": "embedding", "index": index, "embedding": _vector(row, body.encoding_format)}
            for index, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": done.num_tokens, "total_tokens": done.num_tokens}
        return respond({"object": "list", "model": body.model, "data": data, "usage": usage})

    def rerank(self, request: Request, body: RerankBody) -> Response:
        """The texts by how well they answer, the best first."""
        texts = [one if isinstance(one, str) else one.text for one in body.documents]
        done = self._pipeline.rerank(body.model, body.query, texts, bearer(request))
        order = np.argsort(-done.scores, kind="stable")[: body.top_n]
        results = [
            {"index": int(index), "relevance_score": float(done.scores[index])}
            | ({"document": {"text": texts[index]}} if body.return_documents else {})
            for index in order
        ]
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return respond({"id": done.request, "model": body.model, "results": results, "meta": meta})

    def tokenize(self, request: Request, body: TokenizeBody) -> Response:
        """The ids of a text, or of messages as the model would be shown them."""
        if (body.prompt is None) == (body.messages is None):
            raise FieldError("`prompt` or `messages` must be given, and not both.")
        model = self._pipeline.text_model(body.model, bearer(request))
        if body.prompt is not None:
            ids = model.encode(body.prompt)
        else:
            sent = {"model": body.model, "messages": body.messages, "tools": body.tools}
            chat = chat_request(bodies.parse(ChatBody, sent), bearer(request))
            ids = model.prompt_ids(chat.messages, chat.ask)
        texts = [model.decode([one]) for one in ids] if body.return_token_strs else None
        return respond(
            {"count": len(ids), "max_model_len": model.context, "tokens": ids, "token_strs": texts}
        )

    def detokenize(self, request: Request, body: DetokenizeBody) -> Response:
        model = self._pipeline.text_model(body.model, bearer(request))
        return respond({"prompt": model.decode(body.tokens)})

    def tokenizer_info(self, request: Request) -> Response:
        """What is known of a model's tokens; of the first plain model where none is named."""
        name = request.query_params.get("model")
        if name is None:
            scope, names = authenticate(request), self._directory.names()
            name = next((each for each in names if is_text_model(self._directory.chat(each, scope))), None)
        if name is None:
            raise NotFoundError("There is no plain model whose tokens could be shown.")
        model = self._pipeline.text_model(name, bearer(request))
        return respond({"model": model.name, "max_model_len": model.context})

    def models(self, request: Request) -> Response:
        """All models, as the clients of both dialects read them; the extension field says what each is for."""
        return respond(listing(self._list(request), has_more=False))

    async def moderate(self, request: Request) -> Response:
        """Refused: no judge that is here knows the categories, and a score of nothing would pass for a safe one."""
        authenticate(request)
        await bodies.read(request, ModerationBody)
        raise NotFoundError(UNMODERATED["message"])

    def load(self, request: Request, body: LoadBody) -> Response:
        """Serve an adapter of the workspace under a name."""
        name = body.lora_name
        taken = {row["id"] for row in self._list(request) if row["parent"] is None}
        if name in {"*", *taken, *self._pipeline.aliases}:
            raise FieldError(
                f"`lora_name` is '{name}', which is a model or an alias already. Choose another."
            )
        self._directory.load_adapter(name, body.lora_path)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    def unload(self, request: Request, body: UnloadBody) -> Response:
        """Serve an adapter no more; what is under way with it goes on, and the workspace keeps it."""
        authenticate(request)
        self._directory.drop_adapter(body.lora_name)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    def delete(self, request: Request) -> Response:
        """Serve an adapter no more; models belong to the workspace, which the server only reads."""
        self.model(request)
        name = request.path_params["name"]
        if name not in self._directory.adapters():
            raise FieldError(
                f"'{name}' is no adapter that was loaded over HTTP. Models and the assistant belong to the workspace, "
                "aliases to the settings, and this server deletes none; who runs it can.",
                code="model_not_deletable",
                status=403,
            )
        self._directory.drop_adapter(name)
        return respond({"id": name, "object": "model", "deleted": True})

    def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = {row["id"]: row for row in self._list(request)}
        served = known.get(name) or known.get(self._pipeline.resolve(name, list(known)))
        if served is None:
            raise NotFoundError(f"There is no model '{name}'; known models are {', '.join(known)}.")
        return respond({**served, "id": name, "display_name": name})

    def _list(self, request: Request) -> list[dict[str, Any]]:
        authenticate(request)
        tasks = [(name, "chat") for name in self._directory.names()]
        tasks += [(name, "embedding") for name in self._directory.embedder_names()]
        tasks += [(name, "rerank") for name in self._directory.reranker_names()]
        served = dict(tasks)
        rows = [(name, name, task) for name, task in tasks]
        aliases = self._pipeline.aliases.items()
        rows += [(alias, name, served[name]) for alias, name in aliases if name in served and alias != "*"]
        adapters = self._directory.adapters()
        return [self._row(alias, task, name, adapters.get(name)) for alias, name, task in rows]

    def _row(self, name: str, task: str, root: str, adapter: ServedAdapter | None) -> dict[str, Any]:
        parent, created = None, self._created
        if adapter is not None:
            parent = adapter.base.removeprefix("model/").partition("@")[0]
            root, created = adapter.adapter, adapter.created
        return {
            "id": name, "object": "model", "created": created, "owned_by": "mainspring", "root": root,
            "parent": parent, "type": "model", "display_name": name, "lifecycle": "active",
            "mainspring": {"task": task}, "created_at": datetime.fromtimestamp(created, UTC),
        }  # fmt: skip


def _inputs(given: str | list[Any]) -> list[str] | list[list[int]]:
    """The texts, or the ids of texts, that are to be embedded."""
    alone = isinstance(given, str) or all(isinstance(one, int) for one in given)
    many: list[Any] = [given] if alone else list(given)
    if len({type(one) for one in many}) > 1:
        raise FieldError("`input` mixes texts and token ids; send one kind.")
    if not all(many):
        raise FieldError("`input` is empty or holds an empty string; send at least one character.")
    if len(many) > MAX_INPUTS:
        raise FieldError(
            f"`input` holds {len(many):,} texts; {MAX_INPUTS:,} is the most. Send several requests."
        )
    return many


def _vector(row: np.ndarray, encoding: str) -> str | list[float]:
    return base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()
