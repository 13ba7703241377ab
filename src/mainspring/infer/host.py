"""A model that answers under names, with any of its adapters."""

from pathlib import Path
from typing import Generic, Protocol, TypeVar

from mainspring.infer.base import AnyEngine
from mainspring.infer.chat_model import EngineChat
from mainspring.infer.defaults import default_sampling
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig
from mainspring.tokenizer.base import Tokenizer


class LoadedEngine(AnyEngine, Protocol):
    """An engine that came with its model: in this process (local_engine.py) or in one of its own (process.py)."""

    plan: KernelPlan

    def load_adapter(self, reference: str, folder: Path) -> None:
        """Load an adapter while the engine runs; one that is loaded already stays as it is."""
        ...

    def drop_adapter(self, reference: str) -> None:
        """Let go of an adapter once nothing is under way with it; from then on requests that name it are refused."""
        ...


Loaded = TypeVar("Loaded", bound=LoadedEngine)


class Host(Generic[Loaded]):
    """Serves one model artifact, whose `reference` names it in traces."""

    def __init__(self, folder: Path, reference: str, config: EngineConfig, engine: Loaded) -> None:
        self.engine, self.tokenizer = engine, Tokenizer.load(folder)
        self._reference, self._max_unasked = reference, config.default_max_tokens
        self._published = default_sampling(folder)

    def chat(
        self, name: str, *, adapter: tuple[str, Path] | None = None, as_published: bool = False
    ) -> EngineChat:
        """The model under a name, with an adapter (its reference and folder) or without.

        `as_published`: what is not said of sampling is said by the model's files; else it is greedy.

        Raises:
            WeightsError: an adapter that was trained on other weights.
            ConfigError: an adapter whose products the kernel plan cannot make exact.

        """
        if adapter is not None:
            self.engine.load_adapter(*adapter)
        return EngineChat(
            name, self.engine, self.tokenizer, self.engine.plan, model=self._reference,
            adapter=adapter[0] if adapter else None,
            sampling=self._published if as_published else None, max_unasked=self._max_unasked,
        )  # fmt: skip
