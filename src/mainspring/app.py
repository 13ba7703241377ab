"""A workspace opened: the only place that joins rooms.

workspace/
  mainspring.db     events, registry, labels, runs
  artifacts/        kind/name/version, each with its manifest
  knowledge/        one SQLite file a knowledge base
  runs/             states and metrics of long work
  files/            what clients of the server left: inputs and results of batches
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import pydantic

from mainspring import artifact as artifacts
from mainspring import events, registry, runs
from mainspring.artifact import Artifact
from mainspring.config import Config, build
from mainspring.database import Database
from mainspring.errors import MainspringError
from mainspring.events import EventLog
from mainspring.gateway import drawer
from mainspring.gateway.drawer import Drawer
from mainspring.knowledge.scope import Scope
from mainspring.observe.feedback import Feedback
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.runs import Runs
from mainspring.schema import Sampling
from mainspring.trace import Tracer

if TYPE_CHECKING:  # these bring torch, which a look into the log does not need
    from mainspring.infer.base import AnyEngine
    from mainspring.infer.chat_model import EngineChat
    from mainspring.infer.host import Host, Loaded
    from mainspring.infer.kernel_plan import KernelPlan
    from mainspring.infer.local_engine import LocalEngine
    from mainspring.infer.process import EngineProcess
    from mainspring.infer.request import EngineConfig
    from mainspring.knowledge.answer import Assistant
    from mainspring.knowledge.retrieve import Retriever
    from mainspring.knowledge.store import Store
    from mainspring.knowledge.sync import IndexSettings, SyncReport
    from mainspring.models.embed import TextEmbedder
    from mainspring.models.rerank import TextReranker

ASSISTANT, CHAT_MODEL, EMBEDDER, KNOWLEDGE, PROMPT = "mainspring", "smollm2", "minilm", "default", "grounded"
PRODUCTION = "production"
MAX_ASSISTANTS = 16  # that are kept ready
WEDGED_S = 60
"""A step that takes longer than this is taken for one that never ends."""

IN_PRODUCTION = f"assistant/{ASSISTANT}@{PRODUCTION}"


class AssistantSpec(Config):
    """What an `assistant` artifact holds; every reference is `kind/name@version`."""

    model: str = pydantic.Field(description="The model that generates.")
    adapter: str | None = pydantic.Field(default=None, description="Its adapter, or none.")
    prompt: str = pydantic.Field(description="The prompt that it is given.")
    index: str = pydantic.Field(description="The index that it answers from.")
    sampling: dict[str, Any] = pydantic.Field(default={}, description="Fields of schema.Sampling.")
    threshold: float = pydantic.Field(description="Score of the best hit below which it abstains.")
    support: float = pydantic.Field(default=0.95, description="Support that a sentence needs to be shown.")
    relevance: float = pydantic.Field(default=0.6, description="Relevance that an extracted quote needs.")
    k: int = pydantic.Field(default=2, ge=1, description="Passages that the model is shown.")

    def parents(self) -> dict[str, str]:
        roles = {"model": self.model, "adapter": self.adapter, "prompt": self.prompt, "index": self.index}
        return {role: reference for role, reference in roles.items() if reference}


class Workspace:
    """A folder that holds a model's life. Use as a context manager, or call close().

    `engine` says how models chat here; without it they run in this process on the weights as they are.

    >>> with Workspace(tmp_path / "workspace") as workspace:
    ...     workspace.registry.list("assistant")
    []
    """

    def __init__(self, root: Path, *, engine: "EngineConfig | None" = None) -> None:
        self.root = root
        self._engine = engine
        migrations = [
            events.MIGRATION, registry.MIGRATION, runs.MIGRATION, runs.PROCESS_MIGRATION, drawer.MIGRATION,
        ]  # fmt: skip
        self._database = Database(root / "mainspring.db", migrations)
        self.log = EventLog(self._database)
        self.registry = Registry(self._database, root / "artifacts")
        self.runs = Runs(self._database, root / "runs")
        self.tracer = Tracer(self.log)
        self.feedback = Feedback(self.log)
        self.drawer = Drawer(self._database, root / "files")
        self._hosts: dict[str, Host[LocalEngine]] = {}
        self._remote_hosts: dict[str, Host[EngineProcess]] = {}
        self._stores: dict[str, Store] = {}
        self._retrievers: dict[str, Retriever] = {}
        self._assistants: dict[str, Assistant] = {}
        self._readers: dict[str, TextEmbedder | TextReranker] = {}
        self._tasks: dict[str, str] = {}
        self._lock = threading.RLock()

    # --- models -----------------------------------------------------------------------------------------

    def host(self, reference: str) -> "Host[LocalEngine]":
        """The model of a reference with its engine, loaded once (its files are checked then)."""
        from mainspring.infer.local_engine import LocalEngine

        return self._host(reference, self._hosts, LocalEngine)

    def remote_host(self, reference: str) -> "Host[EngineProcess]":
        """The same with the engine in a process of its own."""
        from mainspring.infer.process import EngineProcess

        return self._host(reference, self._remote_hosts, EngineProcess)

    def _host(
        self, reference: str, hosts: "dict[str, Host[Loaded]]", load: "Callable[..., Loaded]"
    ) -> "Host[Loaded]":
        with self._lock:
            artifact = self.registry.get(reference)
            if artifact.reference not in hosts:
                from mainspring.infer.host import Host
                from mainspring.infer.kernel_plan import find_plan
                from mainspring.infer.request import EngineConfig, find_draft

                artifacts.check(artifact, folder := self.registry.folder(artifact))
                config = find_draft(self._engine or EngineConfig(), artifact, self.registry)
                is_native = config.backend == "native"
                known = None if is_native else find_plan(self.registry, artifact, config.products)
                engine = load(folder, artifact.reference, known, config)
                if known is None and not is_native:
                    self._save_plan(artifact, engine.plan)
                hosts[artifact.reference] = Host(folder, artifact.reference, config, engine)
            return hosts[artifact.reference]

    def chat_model(
        self, reference: str, adapter: str | None = None, *, name: str = "", as_published: bool = False
    ) -> "EngineChat":
        """A model, with an adapter or without, ready to chat."""
        found = None if adapter is None else self.registry.get(adapter, verify=True)
        loaded = None if found is None else (found.reference, self.registry.folder(found))
        is_remote = self._engine is not None and self._engine.isolate
        host = self.remote_host(reference) if is_remote else self.host(reference)
        return host.chat(name or reference, adapter=loaded, as_published=as_published)

    def _save_plan(self, artifact: Artifact, plan: "KernelPlan") -> None:
        self.save("kernel-plan", artifact.name, plan.model_dump(mode="json"), {"model": artifact.reference})
        say(f"kernel plan of {artifact.reference}: {plan.describe()}")

    def engines(self) -> "dict[str, AnyEngine]":
        """The loaded engines by their model's reference."""
        hosts = [*self._hosts.items(), *self._remote_hosts.items()]
        return {reference: host.engine for reference, host in hosts}

    def engine_fault(self) -> str | None:
        """What is wrong with a loaded engine, None while all run."""
        for reference, engine in self.engines().items():
            if not engine.is_alive():
                return f"the engine of {reference} has stopped"
            try:
                since_step_s = engine.stats().since_step_s
            except MainspringError as error:
                return f"the engine of {reference} does not answer: {error}"
            if since_step_s > WEDGED_S:
                return f"the engine of {reference} has been in one step for {since_step_s:.0f} s"
        return None

    @property
    def embedder(self) -> "TextEmbedder":
        return self.embedder_of(EMBEDDER)

    def embedder_of(self, name: str) -> "TextEmbedder":
        """A model that makes vectors of texts."""
        from mainspring.models.embed import TextEmbedder

        return self._reader(
            name, lambda folder, of: TextEmbedder.load(folder, name=name, fingerprint=of.fingerprint)
        )

    def reranker_of(self, name: str) -> "TextReranker":
        """A model that scores texts by a query."""
        from mainspring.models.rerank import TextReranker

        return self._reader(name, lambda folder, of: TextReranker.load(folder, name=name, facts=of.config))

    def _reader(self, name: str, load: Callable[[Path, Artifact], Any]) -> Any:
        with self._lock:
            artifact = self.registry.get(f"model/{name}")
            if artifact.reference not in self._readers:
                artifacts.check(artifact, folder := self.registry.folder(artifact))
                self._readers[artifact.reference] = load(folder, artifact)
            return self._readers[artifact.reference]

    def task(self, artifact: Artifact) -> str:
        """What a model can be served for, see models.published.task_of."""
        if artifact.config.get("generates"):
            return "chat"
        from mainspring.models.published import task_of  # torch comes with it

        if artifact.reference not in self._tasks:
            self._tasks[artifact.reference] = task_of(self.registry.folder(artifact), artifact.config)
        return self._tasks[artifact.reference]

    # --- knowledge --------------------------------------------------------------------------------------

    def store(self, name: str = KNOWLEDGE) -> "Store":
        with self._lock:
            if name not in self._stores:
                from mainspring.knowledge.store import Store

                self._stores[name] = Store(self.root / "knowledge" / f"{name}.db")
            return self._stores[name]

    def retriever(self, name: str = KNOWLEDGE) -> "Retriever":
        with self._lock:
            if name not in self._retrievers:
                from mainspring.knowledge.retrieve import Retriever

                self._retrievers[name] = Retriever(self.store(name), self.embedder)
            return self._retrievers[name]

    def index(
        self, sources: Iterable[Any], settings: "IndexSettings", name: str = KNOWLEDGE
    ) -> tuple["SyncReport", Artifact]:
        """Make a knowledge base hold what `sources` give; its version becomes an `index` artifact."""
        from mainspring.knowledge.sync import sync

        report = sync(self.store(name), sources, self.embedder, settings)
        config = {
            "version": report.version, "documents": report.documents, "chunks": report.chunks,
            "embedder": self.embedder.fingerprint,
        }  # fmt: skip
        return report, self.save(
            "index", name, config, {"embedder": self.registry.get(f"model/{EMBEDDER}").reference}
        )

    # --- assistants -------------------------------------------------------------------------------------

    def save_assistant(self, spec: AssistantSpec, name: str = ASSISTANT) -> Artifact:
        return self.save("assistant", name, spec.model_dump(mode="json"), spec.parents())

    def spec(self, reference: str) -> AssistantSpec:
        return build(AssistantSpec, self.registry.get(reference).config)

    def assistant(self, reference: str = IN_PRODUCTION) -> "Assistant":
        """The assistant of a reference, with all it is made of."""
        artifact = self.registry.get(reference)
        with self._lock:
            found = self._assistants.pop(artifact.reference, None)
            found = found or self.build_assistant(build(AssistantSpec, artifact.config), artifact.reference)
            self._assistants[artifact.reference] = found  # the last asked for comes last
            if len(self._assistants) > MAX_ASSISTANTS:
                self._let_go(next(iter(self._assistants)))
            return found

    def _let_go(self, reference: str) -> None:
        """Forget an assistant, and its adapter."""
        del self._assistants[reference]
        if (gone := self.spec(reference).adapter) is not None:
            self.drop_adapter(gone)

    def drop_adapter(self, reference: str) -> None:
        """Let an adapter leave its model, unless an assistant that is kept ready or a served name has it."""
        with self._lock:  # no assistant is made of it meanwhile
            used = {self.spec(each).adapter for each in self._assistants}
            used |= {served["adapter"] for _, served in self.drawer.everyones("adapter")}
            if reference not in used:
                for host in [*self._hosts.values(), *self._remote_hosts.values()]:
                    host.engine.drop_adapter(reference)

    def build_assistant(self, spec: AssistantSpec, reference: str) -> "Assistant":
        """An assistant from its parts, stored or not."""
        from mainspring.evaluate.confidence import finder
        from mainspring.knowledge.answer import Assistant, Limits
        from mainspring.prompts.template import GroundedPrompt

        index = self.registry.get(spec.index)
        return Assistant(
            ASSISTANT,
            self.chat_model(spec.model, spec.adapter, name=CHAT_MODEL),
            self.retriever(index.name),
            scope=Scope(version=index.config["version"]),
            prompt=build(GroundedPrompt, self.registry.get(spec.prompt).config),
            sampling=msgspec.convert(spec.sampling, Sampling),
            limits=Limits(threshold=spec.threshold, support=spec.support, relevance=spec.relevance),
            k=spec.k,
            reference=reference,
            confidence=finder(self.registry, reference),
        )

    # --- artifacts without files ------------------------------------------------------------------------

    def save(
        self, kind: artifacts.Kind, name: str, config: dict[str, Any], parents: dict[str, str]
    ) -> Artifact:
        """Keep a configuration as an artifact; a version that is the same is returned, not made again."""
        for reference in reversed(self.registry.list(kind)):
            there = self.registry.get(reference)
            if (there.name, there.config, there.parents) == (name, config, parents):
                return there
        written = artifacts.write(
            self.registry.root, kind, name, lambda _: None, config=config, parents=parents
        )
        return self.registry.add(written)

    def close(self) -> None:
        for host in (*self._hosts.values(), *self._remote_hosts.values()):
            host.engine.close()
        self.log.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
