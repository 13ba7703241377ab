"""What the gateway needs of the workspace it stands before, and what it remembers of an answer."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import msgspec

from mainspring.knowledge.scope import Scope
from mainspring.protocols import ChatModel, Embedder, Reranker, TextModel
from mainspring.schema import Citation, Message

ANSWER = "answer"


class ServedAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter under a name: its artifact's reference, that of its base, and the Unix time of its loading."""

    adapter: str
    base: str
    created: int


class Directory(Protocol):
    """The models behind the door, by name.

    It is asked once a request, so that a moved label counts for new requests while a running stream keeps the
    object it began with. For a name it does not know it raises NotFoundError, which lists the known ones.
    """

    def names(self) -> list[str]:
        """The names of the models that chat."""
        ...

    def embedder_names(self) -> list[str]: ...

    def reranker_names(self) -> list[str]: ...

    def chat(self, name: str, scope: Scope) -> ChatModel: ...

    def embedder(self, name: str) -> Embedder: ...

    def reranker(self, name: str) -> Reranker: ...

    def adapters(self) -> Mapping[str, ServedAdapter]:
        """Those of the models that chat which are adapters, by their names."""
        ...

    def load_adapter(self, name: str, reference: str) -> None:
        """Serve an adapter under a name from now on, after restarts too; the same again changes nothing.

        Raises:
            NotFoundError: no such adapter in the workspace.
            ConfigError: a name that another has, or an adapter whose base is not served or that cannot be applied.

        """
        ...

    def drop_adapter(self, name: str) -> None:
        """Serve it no more; what is under way with it goes on, and its artifact stays.

        Raises:
            LostError: no adapter of that name.

        """
        ...


def is_text_model(model: ChatModel) -> TypeGuard[TextModel]:
    """Whether a model also continues raw text and does all that an `Ask` can say; an assistant does not."""
    return hasattr(model, "complete")


class AnswerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The data of an "answer" event, whose subject is the request: what feedback and training read later.

    `messages` is what the client sent, `prompt_messages` what the model was shown, retrieved text included.
    `kind` is None when a plain model answered.
    """

    model: str
    messages: tuple[Message, ...]
    text: str
    kind: str | None = None
    citations: tuple[Citation, ...] = ()
    assistant: str | None = None
    prompt_messages: tuple[Message, ...] = ()
    finish_reason: str = "stop"
    tenant: str = "local"

    def data(self) -> dict[str, Any]:
        """As the log keeps it."""
        return msgspec.to_builtins(self)
