"""A model in memory: its weights once, its tokenizer, its engine, and the adapters that were asked for."""

import threading
from collections.abc import Callable
from pathlib import Path

from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.errors import ConfigError, MainspringError, WeightsError
from mainspring.infer.backends.torch_eager import TorchEager
from mainspring.infer.chat_model import EngineChat
from mainspring.infer.engine import Engine
from mainspring.infer.kernels import KernelPlan, linears_agree
from mainspring.infer.request import EngineConfig
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.schema import Sampling
from mainspring.tokenizer.base import Tokenizer


class Host:
    """Serves one model artifact with any of its adapters.

    Args:
        folder: the artifact's folder.
        reference: its name, for traces.
        plan: finds the kernel plan of a loaded model.
        config: sizes of the engine.

    """

    def __init__(
        self, folder: Path, reference: str, plan: Callable[[Model], KernelPlan], config: EngineConfig
    ) -> None:
        self.reference = reference
        self.model = load(folder).requires_grad_(False)
        if not self.model.config.is_served:
            raise WeightsError(
                f"{reference} is a {self.model.config.family} model that the engine does not generate with: it "
                "serves language models whose layers look back by attention. Ask another model."
            )
        self.tokenizer = Tokenizer.load(folder)
        self.plan = plan(self.model)
        self.engine = Engine(TorchEager(self.model, self.plan, config), config)
        self._adapters: set[str] = set()
        self._lock = threading.Lock()

    def chat(
        self, name: str, *, adapter: tuple[str, Path] | None = None, sampling: Sampling | None = None
    ) -> EngineChat:
        """The model under a name, with an adapter (its reference and folder) or without.

        Raises:
            WeightsError: an adapter that was trained on other weights.
            MainspringError: an adapter whose products the kernel plan cannot make exact.

        """
        if adapter is not None:
            self._load_adapter(*adapter)
        return EngineChat(
            name,
            self.engine,
            self.tokenizer,
            self.plan,
            model=self.reference,
            adapter=adapter[0] if adapter else None,
            sampling=sampling,
        )

    def _load_adapter(self, reference: str, folder: Path) -> None:
        with self._lock:
            if reference in self._adapters:
                return
            adapters.base_fingerprint(self.model)  # hashed here, so that running streams need not wait for it
            self.engine.between_steps(lambda: store.load(self.model, folder, reference))
            try:
                factors = lora.pairs(self.model, reference).values()
            except ConfigError as error:
                kind = adapters.adapters_of(self.model).configs[reference].kind
                self.engine.between_steps(lambda: adapters.remove(self.model, reference))
                raise ConfigError(
                    f"The adapter {reference} is of kind '{kind}'; the engine answers with those of kind 'lora' alone. "
                    "Train one of that kind, or answer with `mainspring.models.generate.generate`."
                ) from error
            if not linears_agree([w for pair in factors for w in (pair.a_RI, pair.b_OR)], self.plan):
                self.engine.between_steps(lambda: adapters.remove(self.model, reference))
                raise MainspringError(
                    f"The adapter {reference} has the rank {next(iter(factors)).a_RI.shape[0]}; products of "
                    "that width do not keep rows apart on this machine, so answers could not be repeated "
                    "exactly. Train it with a rank of 8 or a multiple of 8."
                )
            self._adapters.add(reference)

    def close(self) -> None:
        self.engine.close()
