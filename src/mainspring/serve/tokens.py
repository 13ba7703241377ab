"""/tokenize, /detokenize, /tokenizer_info: a model's tokens, in vLLM's shapes.

A prompt's ids are those that /v1/completions continues: without a template, without a special token in front.
"""

from typing import Any, ClassVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.errors import NotFoundError
from mainspring.gateway.base import Directory, is_text_model
from mainspring.gateway.pipeline import Pipeline
from mainspring.protocols import TextModel
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError, authenticate, bearer, respond
from mainspring.serve.fields import Id
from mainspring.serve.openai_body import ChatBody, chat_request


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


class Tokens:
    """The endpoints of a model's vocabulary."""

    def __init__(self, pipeline: Pipeline, directory: Directory) -> None:
        self._pipeline, self._directory = pipeline, directory

    def routes(self) -> list[Route]:
        return [
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/detokenize", self.detokenize, methods=["POST"]),
            Route("/tokenizer_info", self.info, methods=["GET"]),
        ]

    async def tokenize(self, request: Request) -> Response:
        """The ids of a text, or of messages as the model would be shown them."""
        body = await bodies.read(request, TokenizeBody)
        if (body.prompt is None) == (body.messages is None):
            raise FieldError("`prompt` or `messages` must be given, and not both.", param="prompt")
        model = await run_in_threadpool(self._pipeline.text_model, body.model, bearer(request))
        if body.prompt is not None:
            ids = await run_in_threadpool(model.encode, body.prompt)
        else:
            sent = {"model": body.model, "messages": body.messages, "tools": body.tools}
            chat = chat_request(bodies.parse(ChatBody, sent), bearer(request))
            ids = await run_in_threadpool(model.prompt_ids, chat.messages, chat.ask)
        texts = None
        if body.return_token_strs:
            texts = await run_in_threadpool(lambda: [model.decode([one]) for one in ids])
        return respond(
            {"count": len(ids), "max_model_len": model.context, "tokens": ids, "token_strs": texts}
        )

    async def detokenize(self, request: Request) -> Response:
        body = await bodies.read(request, DetokenizeBody)
        model = await run_in_threadpool(self._pipeline.text_model, body.model, bearer(request))
        return respond({"prompt": await run_in_threadpool(model.decode, body.tokens)})

    def info(self, request: Request) -> Response:
        """What is known of a model's tokens; of the first plain model where none is named."""
        name = request.query_params.get("model")
        model = self._first(request) if name is None else self._pipeline.text_model(name, bearer(request))
        return respond({"model": model.name, "max_model_len": model.context})

    def _first(self, request: Request) -> TextModel:
        scope = authenticate(request)
        for name in self._directory.names():
            model = self._directory.chat(name, scope)
            if is_text_model(model):
                return model
        raise NotFoundError("There is no plain model whose tokens could be shown.")
