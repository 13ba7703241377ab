"""A model's weights in a backend, and how adapters come to them.

A seat's `model` is the one that torch knows: the weights that answer, or those that were packed to answer.
"""

import os
from functools import cached_property
from pathlib import Path

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.adapt.lora import LoraPair
from mainspring.errors import ConfigError, WeightsError
from mainspring.infer.backends.live import Live
from mainspring.infer.backends.native import Native
from mainspring.infer.backends.torch_eager import TorchEager
from mainspring.infer.drafts import DraftModel
from mainspring.infer.engine import Engine
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.kernels import linears_agree, probe
from mainspring.infer.native.packing import FolderSource, needed
from mainspring.infer.packed import pack_model
from mainspring.infer.request import EngineConfig
from mainspring.models.config import ModelConfig
from mainspring.models.load import load, read_config
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer

FP32_BYTES = 4


class TorchSeat:
    """The model's own modules; adapters sit on them.

    Raises:
        WeightsError: a model that the engine does not generate with.

    """

    def __init__(self, folder: Path, reference: str, known: KernelPlan | None, config: EngineConfig) -> None:
        self.model = load(folder).requires_grad_(False)
        _check_served(self.model.config, reference, config)
        self.plan = known or probe(self.model, config.products)
        pack_model(self.model, self.plan.packed)
        fingerprint = f"{adapters.base_fingerprint(self.model)}-{self.plan.fingerprint}"
        self.backend = TorchEager(self.model, self.plan, config, fingerprint=fingerprint)

    def take(self, engine: Engine, reference: str, folder: Path) -> None:
        """Put an adapter on the weights while the engine runs.

        Raises:
            WeightsError: an adapter that was trained on other weights.
            ConfigError: an adapter that would not be applied exactly.

        """
        engine.between_steps(lambda: store.load(self.model, folder, reference))
        try:
            _check_exact(_factors(self.model, reference), self.plan, reference)
        except BaseException:  # whatever it is: the adapter has not been found to be exact
            engine.between_steps(lambda: self.drop(reference))
            raise

    def drop(self, reference: str) -> None:
        """Take an adapter off. Between two steps only."""
        adapters.remove(self.model, reference)


class NativeSeat:
    """Weights packed for the native step, outside of torch; adapters are copied to them."""

    def __init__(self, folder: Path, reference: str, config: EngineConfig) -> None:
        self._folder = folder
        if (why_not := Native.serves(read_config(folder))) is not None:
            raise WeightsError(
                f"The native step cannot run {reference}: {why_not}. Set engine.backend=torch_eager, which can."
            )
        self.backend = Native.load(folder, config)
        self.plan = KernelPlan(
            multiple=1, limit=config.max_step_tokens, machine=self.backend.fingerprint, torch="none", threads=0,
        )  # fmt: skip

    @property
    def model(self) -> Model:
        """The weights before they were packed, loaded for whoever asks."""
        return load(self._folder).requires_grad_(False)

    @cached_property
    def _bare(self) -> Model:
        """The modules for adapters to be read onto: their weights are one zero, and whose they are is known."""
        config = read_config(self._folder)
        with torch.device("meta"):
            bare = Model(config)
        shapes = {name: weight.shape for name, weight in bare.state_dict().items()}
        bare.load_state_dict(
            {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, assign=True
        )
        names, source = sorted(dict(bare.named_parameters())), FolderSource(self._folder, config)
        one_by_one = ((name, needed(source, name)) for name in names)
        adapters.adapters_of(bare).fingerprint = (
            adapters.fingerprint_of(one_by_one) if source.is_whole else adapters.base_fingerprint(self.model)
        )
        return bare.eval().requires_grad_(False)

    def take(self, engine: Engine, reference: str, folder: Path) -> None:
        """Copy an adapter's factors to the packed weights while the engine runs; see TorchSeat.take."""
        store.load(self._bare, folder, reference)
        try:
            factors = _factors(self._bare, reference)
            engine.between_steps(lambda: self.backend.load_adapter(reference, factors))
        finally:
            adapters.remove(self._bare, reference)

    def drop(self, reference: str) -> None:
        self.backend.drop_adapter(reference)


def open_draft(folder: Path, reference: str, tokenizer: Tokenizer, config: EngineConfig) -> DraftModel | None:
    """The model that guesses for the one in `folder`, if the settings name one.

    Raises:
        ConfigError: one that cannot guess for it, or that would never be asked.

    """
    if config.draft_model is None:
        return None
    if not config.speculation:
        raise ConfigError("`draft_model` is set and `speculation` is off; one of them must go.")
    name, draft_folder = config.draft_model, Path(config.draft_model)
    if Tokenizer.load(draft_folder).source != tokenizer.source:
        raise ConfigError(
            f"`draft_model` is {name}, whose tokenizer is another than that of {reference}, so its ids mean "
            "other texts. Name a model with the same tokenizer, or none."
        )
    draft, model = read_config(draft_folder), read_config(folder)
    if not draft.is_served or draft.has_states or model.has_states:
        raise ConfigError(
            f"`draft_model` is {name}, a {draft.family} model, which is to guess for {reference}, a {model.family} "
            "model. Both must be language models of attention alone: states cannot be taken back."
        )
    sizes = DraftModel.sizes(config)
    is_native = config.backend == "native" and Native.serves(draft) is None
    backend = Native.load(draft_folder, sizes) if is_native else Live(load(draft_folder), sizes)
    return DraftModel(backend, config, min(draft.vocab_size, model.vocab_size))


def _check_exact(factors: dict[str, LoraPair], plan: KernelPlan, reference: str) -> None:
    if not linears_agree([w for pair in factors.values() for w in (pair.a_RI, pair.b_OR)], plan):
        raise ConfigError(
            f"The adapter {reference} has the rank {next(iter(factors.values())).a_RI.shape[0]}; products of that "
            "width do not keep rows apart on this machine, so answers could not be repeated exactly. "
            "Train it with a rank of 8 or a multiple of 8."
        )


def _factors(model: Model, reference: str) -> dict[str, LoraPair]:
    try:
        return lora.pairs(model, reference)
    except ConfigError as error:
        kind = adapters.adapters_of(model).configs[reference].kind
        raise ConfigError(
            f"The adapter {reference} is of kind '{kind}'; the engine answers with those of kind 'lora' alone. "
            "Train one of that kind, or answer with `mainspring.models.generate.generate`."
        ) from error


def _check_served(model: ModelConfig, reference: str, config: EngineConfig) -> None:
    """See that the engine can generate with a model, and that the machine holds its states.

    Every block keeps the states behind it; where those are large, blocks must be few and long.
    """
    if not model.is_served:
        raise WeightsError(
            f"{reference} is a {model.family} model that the engine does not generate with: it "
            "serves language models whose layers look back, and know no distances. Ask another model."
        )
    needed = FP32_BYTES * config.num_blocks * sum(block.mixer.state_numbers for block in model.blocks)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there / 2:
        raise ConfigError(
            f"The states of {reference} at {config.num_blocks} blocks take {needed / 1e9:,.1f} GB, and there are "
            f"{there / 1e9:,.1f} GB of memory. Set fewer and longer blocks: engine.num_blocks and engine.block_size."
        )
