"""The engine in this process together with its model: the weights once, and the adapters that were asked for."""

import threading
from pathlib import Path

from mainspring.infer.engine import Engine
from mainspring.infer.grammar import Grammars
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig
from mainspring.infer.seats import NativeSeat, TorchSeat, open_draft
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer


class LocalEngine(Engine):
    """Loads a model artifact. `known` is its kernel plan if an earlier start found one; `config` has its draft model,
    if there is one, as a folder.
    """

    def __init__(self, folder: Path, reference: str, known: KernelPlan | None, config: EngineConfig) -> None:
        if config.backend == "native":
            self._seat = NativeSeat(folder, reference, config)
        else:
            self._seat = TorchSeat(folder, reference, known, config)
        self.plan = self._seat.plan
        self._adapting = threading.Lock()
        tokenizer = Tokenizer.load(folder)
        draft = open_draft(folder, reference, tokenizer, config)
        super().__init__(self._seat.backend, config, Grammars(tokenizer), draft)

    @property
    def model(self) -> Model:
        return self._seat.model

    def load_adapter(self, reference: str, folder: Path) -> None:
        """See host.LoadedEngine."""
        with self._adapting:
            if reference in self._leaving:  # it stays, unless its last request ends before this is heard
                self.between_steps(lambda: self._leaving.pop(reference, None))
            if not self._backend.has_adapter(reference):
                self._seat.take(self, reference, folder)

    def drop_adapter(self, reference: str) -> None:
        """See host.LoadedEngine."""
        with self._adapting:
            if self._backend.has_adapter(reference):
                self.take_off(reference, lambda: self._seat.drop(reference))
