"""A workspace as the door sees it: what is served under which name."""

import threading
import time
from typing import TYPE_CHECKING

import msgspec

from mainspring.app import ASSISTANT, CHAT_MODEL, IN_PRODUCTION, PRODUCTION, Workspace
from mainspring.errors import ConfigError, NotFoundError
from mainspring.gateway.base import ServedAdapter
from mainspring.knowledge.scope import Scope
from mainspring.protocols import ChatModel

if TYPE_CHECKING:  # these bring torch, which a look at the names does not need
    from mainspring.infer.stats import EngineStats
    from mainspring.models.embed import TextEmbedder
    from mainspring.models.rerank import TextReranker
    from mainspring.prompts.chat_prompt import ChatPrompt


class Door:
    """Models by name, documents, health.

    Adapters that clients had loaded are rows of the drawer, so that they outlive the server; each is loaded when it
    is first asked for.

    Implements serve.base.Served.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._adapting = threading.Lock()  # an adapter is not dropped while it is loaded

    def names(self) -> list[str]:
        registry = self._workspace.registry
        served = registry.labelled("assistant", ASSISTANT, PRODUCTION) is not None
        models = sorted(self._named("chat"), key=lambda name: name != CHAT_MODEL)
        return [*([ASSISTANT] if served else []), *dict.fromkeys([*models, *self.adapters()])]

    def _named(self, task: str) -> list[str]:
        """Names of the models for a task, whoever brought them; the assistant's name is its own."""
        registry = self._workspace.registry
        there = [reference for reference in registry.list("model") if registry.has(reference)]
        newest = {
            artifact.name: artifact for artifact in map(registry.get, there) if artifact.name != ASSISTANT
        }
        return [name for name, artifact in newest.items() if self._workspace.task(artifact) == task]

    def embedder_names(self) -> list[str]:
        return self._named("embedding")

    def reranker_names(self) -> list[str]:
        return self._named("rerank")

    def chat(self, name: str, scope: Scope) -> ChatModel:
        """The model that a name means now; a label that moves later does not change it."""
        if name in self.adapters() and (adapted := self._adapted(name)) is not None:
            return adapted
        self._check(name, "model to chat with that is called", self.names())
        if name == ASSISTANT:
            return self._workspace.assistant()
        return self._workspace.chat_model(f"model/{name}", name=name, as_published=True)

    def _adapted(self, name: str) -> ChatModel | None:
        with self._adapting:
            served = self.adapters().get(name)
            if served is None:  # dropped a moment ago
                return None
            return self._workspace.chat_model(served.base, served.adapter, name=name, as_published=True)

    def adapters(self) -> dict[str, ServedAdapter]:
        rows = self._workspace.drawer.everyones("adapter")
        return {row["id"]: msgspec.convert(row, ServedAdapter) for _, row in rows}

    def load_adapter(self, name: str, reference: str) -> None:
        """Load an adapter, and then note its name; see gateway.base.Directory."""
        with self._adapting:
            adapter, base = self._find_adapter(reference)
            there = self.adapters().get(name)
            if name == ASSISTANT or (there is not None and there.adapter != adapter):
                has = f"{there.adapter} has already been loaded" if there else "the assistant answers"
                raise ConfigError(
                    f"`lora_name` is '{name}', under which {has}. Choose another, or unload that first."
                )
            self._workspace.chat_model(base, adapter)
            if there is None:
                row = {"id": name, "adapter": adapter, "base": base, "created": int(time.time())}
                self._workspace.drawer.put("adapter", name, row, tenant=Scope().tenant)

    def drop_adapter(self, name: str) -> None:
        """Forget a name, and its weights where nothing else has them; see gateway.base.Directory."""
        with self._adapting:
            drawer, tenant = self._workspace.drawer, Scope().tenant
            gone = drawer.get("adapter", name, tenant)
            drawer.delete("adapter", name, tenant)
            self._workspace.drop_adapter(gone["adapter"])

    def _find_adapter(self, reference: str) -> tuple[str, str]:
        """The references of an adapter and of its base.

        What comes from outside is looked up in the registry's list, so that it never becomes a path of the disk.
        """
        registry = self._workspace.registry
        known, (name, _, version) = registry.list("adapter"), reference.partition("@")
        is_known = (
            reference in known if version.isdigit() else name in {each.partition("@")[0] for each in known}
        )
        if not is_known:
            raise NotFoundError(
                f"`lora_path` is '{reference}'; it must be an adapter of this workspace, adapter/NAME@VERSION, never "
                f"a path of the server's disk. There is {', '.join(known) or 'none'}."
            )
        artifact = registry.get(reference)
        served = {registry.get(f"model/{name}").reference for name in self._named("chat")}
        if (base := artifact.parents.get("base", "")) not in served:
            raise ConfigError(
                f"`lora_path` is {artifact.reference}, which was trained on {base or 'no model that it names'}; it "
                f"must be of a model that is served: {', '.join(sorted(served)) or 'none'}."
            )
        return artifact.reference, base

    def embedder(self, name: str) -> "TextEmbedder":
        self._check(name, "embedder", self.embedder_names())
        return self._workspace.embedder_of(name)

    def reranker(self, name: str) -> "TextReranker":
        self._check(name, "reranker", self.reranker_names())
        return self._workspace.reranker_of(name)

    def _check(self, name: str, what: str, known: list[str]) -> None:
        if name not in known:
            raise NotFoundError(f"There is no {what} '{name}'; there is {', '.join(known) or 'none'}.")

    def document(self, id: str, scope: Scope) -> tuple[str, str]:  # noqa: A002 - the field's own name
        """A source as the assistant in production sees it."""
        index = self._workspace.registry.get(self._workspace.spec(IN_PRODUCTION).index)
        seen = Scope(tenant=scope.tenant, version=index.config["version"])
        document = self._workspace.store(index.name).document(id, seen)
        return document.title, document.text

    def prompt(self, name: str, version: str | None) -> "tuple[str, ChatPrompt]":
        """See serve.base.Served."""
        from mainspring.prompts.chat_prompt import find

        return find(self._workspace.registry, name, version)

    def health(self) -> str | None:
        return self._workspace.engine_fault()

    def stats(self) -> dict[str, "EngineStats"]:
        return {reference: engine.stats() for reference, engine in self._workspace.engines().items()}

    def warm(self, *names: str) -> None:
        """Load what the first request would wait for: the assistant, the plain model and what is named."""
        for name in self.names():
            if name in {ASSISTANT, CHAT_MODEL, *names}:  # other models are loaded when they are asked for
                self.chat(name, Scope())
