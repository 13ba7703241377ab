"""A model in memory: its weights once, its tokenizer, its engine, and the adapters that were asked for."""

import threading
from collections.abc import Callable
from pathlib import Path

from mainspring.infer.chat_model import EngineChat
from mainspring.infer.defaults import default_sampling
from mainspring.infer.engine import Engine
from mainspring.infer.grammar import Grammars
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig
from mainspring.infer.seats import NativeSeat, TorchSeat, open_draft
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer


class Host:
    """Serves one model artifact with any of its adapters.

    `reference` names it in traces, `plan` finds the kernel plan of a loaded model; `config` has its draft model, if
    there is one, as a folder.
    """

    def __init__(
        self, folder: Path, reference: str, plan: Callable[[Model], KernelPlan], config: EngineConfig
    ) -> None:
        self.reference, self._max_unasked = reference, config.default_max_tokens
        self._published = default_sampling(folder)
        self.tokenizer = Tokenizer.load(folder)
        if config.backend == "native":
            self._seat = NativeSeat(folder, reference, config)
        else:
            self._seat = TorchSeat(folder, reference, plan, config)
        self.plan = self._seat.plan
        draft = open_draft(folder, reference, self.tokenizer, config)
        self.engine = Engine(self._seat.backend, config, Grammars(self.tokenizer), draft)
        self._adapters: set[str] = set()
        self._lock = threading.Lock()

    @property
    def model(self) -> Model:
        return self._seat.model

    def chat(
        self, name: str, *, adapter: tuple[str, Path] | None = None, as_published: bool = False
    ) -> EngineChat:
        """The model under a name, with an adapter (its reference and folder) or without.

        `as_published`: what is not said of sampling is said by the model's files; else it is greedy.

        Raises:
            WeightsError: an adapter that was trained on other weights.
            MainspringError: an adapter whose products the kernel plan cannot make exact.

        """
        if adapter is not None:
            self.load_adapter(*adapter)
        return EngineChat(
            name,
            self.engine,
            self.tokenizer,
            self.plan,
            model=self.reference,
            adapter=adapter[0] if adapter else None,
            sampling=self._published if as_published else None,
            max_unasked=self._max_unasked,
        )

    def load_adapter(self, reference: str, folder: Path) -> None:
        """Load an adapter while the engine runs; one that is loaded already stays as it is."""
        with self._lock:
            if reference not in self._adapters:
                self._seat.take(self.engine, reference, folder)
                self._adapters.add(reference)

    def drop_adapter(self, reference: str) -> None:
        """Let go of an adapter; requests that name it are refused from now on."""
        with self._lock:
            if reference in self._adapters:
                self._seat.drop(self.engine, reference)
                self._adapters.remove(reference)

    def close(self) -> None:
        self.engine.close()
