"""A model whose engine runs in a process of its own; see host.py for the one that has it in this process."""

from pathlib import Path

from mainspring.infer.chat_model import EngineChat
from mainspring.infer.defaults import default_sampling
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.process import EngineProcess
from mainspring.infer.request import EngineConfig
from mainspring.tokenizer.base import Tokenizer


class RemoteHost:
    """Serves one model artifact with any of its adapters.

    `known` is the kernel plan that an earlier start found; `plan` the one that is used.
    """

    def __init__(self, folder: Path, reference: str, known: KernelPlan | None, config: EngineConfig) -> None:
        self.reference, self._max_unasked = reference, config.default_max_tokens
        self._published = default_sampling(folder)
        self.tokenizer = Tokenizer.load(folder)
        self.engine = EngineProcess(folder, reference, config.model_copy(update={"isolate": False}), known)
        self.plan = self.engine.plan

    def chat(
        self, name: str, *, adapter: tuple[str, Path] | None = None, as_published: bool = False
    ) -> EngineChat:
        """See Host.chat."""
        if adapter is not None:
            self.engine.load_adapter(*adapter)
        return EngineChat(
            name, self.engine, self.tokenizer, self.plan, model=self.reference,
            adapter=adapter[0] if adapter else None,
            sampling=self._published if as_published else None, max_unasked=self._max_unasked,
        )  # fmt: skip

    def drop_adapter(self, reference: str) -> None:
        """See Host.drop_adapter."""
        self.engine.drop_adapter(reference)

    def close(self) -> None:
        self.engine.close()
