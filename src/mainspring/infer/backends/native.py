"""The native step: one call into C++ a step, weights in 8 or 4 bits, every row's bits its own.

Shapes: N rows of scores, V vocabulary.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch

from mainspring.adapt.lora import LoraPair
from mainspring.device import trim_memory
from mainspring.errors import ConfigError
from mainspring.infer.backends.base import scored_rows
from mainspring.infer.native.build import build
from mainspring.infer.native.packing import FolderSource, Packing, Source, of_model
from mainspring.infer.native.structs import ACTIVATIONS, LANES, NO_ADAPTER, SUMMARY, Batch, Library, Sizes
from mainspring.infer.request import EngineConfig
from mainspring.infer.sampling import Summary
from mainspring.infer.scheduler import Work
from mainspring.models.config import AttentionSpec, BlockSpec, FfnSpec, ModelConfig
from mainspring.models.load import load, read_config
from mainspring.models.model import Model


class Native:
    """A backend in the exact mode that has the weights and the cache to itself, outside of torch.

    Example:
        backend = Native.load(folder, EngineConfig())
        engine = Engine(backend, EngineConfig())

    Args:
        config: the model; `serves` says which ones there can be.
        source: its weights. They are copied, so that a model may be let go.
        engine: sizes of the cache and of a step, and `native`.

    Raises:
        NoCompilerError: the step cannot be compiled here.
        ConfigError: a block size that does not fit.

    """

    name = "native"
    is_exact = True
    grain = 1

    def __init__(self, config: ModelConfig, source: Source, engine: EngineConfig) -> None:
        why_not = self.serves(config)
        assert why_not is None, f"the native step cannot run the model: {why_not}"
        if engine.block_size % LANES:
            raise ConfigError(
                f"`block_size` is {engine.block_size}; the native step keeps tokens by {LANES}. Set a multiple of it."
            )
        settings = engine.native
        self.model_config, self.max_step_tokens = config, engine.max_step_tokens
        self._scores_NV = torch.empty(0, config.vocab_size)  # kept: new memory would be cleared in every step
        self._adapters: dict[str | None, int] = {None: NO_ADAPTER}
        self._numbers = itertools.count(1)
        self._library = Library(_sizes(config, engine), settings.march)
        digest = hashlib.sha256(f"{build(settings.march).name} {settings.model_dump_json()}".encode())
        self._packing = Packing(self._library, config, settings.bits)
        self._packing.set_weights(_hashed(source, digest))
        trim_memory()  # each weight was in memory as fp32 for a moment
        self.fingerprint = digest.hexdigest()

    @classmethod
    def load(cls, folder: Path, engine: EngineConfig) -> Self:
        """Straight from the files of a model: its weights are not in memory as a whole, where that can be."""
        config = read_config(folder)
        source = FolderSource(folder, config)
        return cls(config, source if source.is_whole else of_model(load(folder)), engine)

    @classmethod
    def of(cls, model: Model, engine: EngineConfig) -> Self:
        """A copy of a model in memory as it is now."""
        return cls(model.config, of_model(model), engine)

    @staticmethod
    def serves(config: ModelConfig) -> str | None:
        """Why the native step cannot run such a model; None if it can."""
        return next(_hindrances(config), None)

    def step(self, works: Sequence[Work]) -> torch.Tensor:
        starts = np.cumsum([0, *(len(work.ids) for work in works)])
        scored = scored_rows(works)
        if len(scored) > len(self._scores_NV):
            self._scores_NV = torch.empty(len(scored), self.model_config.vocab_size)
        scores_NV = self._scores_NV[: len(scored)]
        sequences = [work.sequence for work in works]
        arrays = {
            "ids": [token_id for work in works for token_id in work.ids],
            "starts": starts,
            "positions": [sequence.num_computed for sequence in sequences],
            "tables": [block for sequence in sequences for block in sequence.blocks],
            "table_starts": np.cumsum([0, *(len(sequence.blocks) for sequence in sequences)]),
            "adapters": [self._adapters[sequence.request.adapter] for sequence in sequences],
            "scored": scored,
        }
        held = {name: np.asarray(values, dtype=np.int32) for name, values in arrays.items()}
        batch = Batch(
            num_works=len(works), num_scored=len(scored), scores=scores_NV.data_ptr(),
            **{name: values.ctypes.data for name, values in held.items()},
        )  # fmt: skip
        self._library.call("step", batch)
        return scores_NV

    def summarize(self, scores_NV: torch.Tensor, places: Sequence[int]) -> list[Summary]:
        """See Backend.summarize; `scores_NV` as `step` returned it."""
        found_N = np.empty(len(places), SUMMARY)
        rows_N = np.asarray(places, np.int32)
        self._library.call("summarize", len(places), scores_NV.shape[1], scores_NV, rows_N, found_N)
        return [Summary(*each) for each in found_N.tolist()]

    def has_adapter(self, name: str) -> bool:
        return name in self._adapters

    def copy_block(self, source: int, target: int) -> None:
        self._library.call("copy_block", source, target)

    @property
    def cache_bytes(self) -> int:
        """What all blocks of keys and values take once they have been used."""
        return self._library.call("cache_bytes")

    def load_adapter(self, name: str, pairs: Mapping[str, LoraPair]) -> None:
        """Take an adapter's factors, by the path of their linear; they are copied. Between two steps only.

        Raises:
            ConfigError: one that learns the rows' lengths (DoRA).

        """
        if any(pair.length_O is not None for pair in pairs.values()):
            raise ConfigError(
                f"The adapter '{name}' learns the rows' lengths (`dora`), which the native step does not apply. "
                "Train one without, or serve it on the torch backend."
            )
        number = next(self._numbers)
        self._packing.set_adapter(number, pairs)
        self._adapters[name] = number

    def drop_adapter(self, name: str) -> None:
        """Let go of an adapter's factors. Between two steps only."""
        self._library.call("drop_adapter", self._adapters.pop(name))

    def close(self) -> None:
        """Let go of weights and cache; nothing can be asked of the backend any more."""
        self._library.close()


def _hashed(source: Source, digest: "hashlib._Hash") -> Source:
    """The same weights; what is read of them goes into the digest, with its name."""

    def read(name: str) -> torch.Tensor | None:
        weight = source(name)
        if weight is not None:
            held = weight.detach().contiguous()
            digest.update(f"{name} {held.dtype} {tuple(held.shape)}".encode())
            digest.update(held.view(torch.uint8).numpy().data)
        return weight

    return read


def _sizes(config: ModelConfig, engine: EngineConfig) -> Sizes:
    assert config.head is not None
    return Sizes(
        width=config.width, vocab_size=config.vocab_size, num_layers=config.num_layers,
        block_size=engine.block_size, num_blocks=engine.num_blocks, kv_in_bytes=engine.native.kv == "int8",
        threads=engine.native.threads or torch.get_num_threads(),
        embedding_scale=config.embedding_scale, softcap=config.head.softcap or 0.0,
    )  # fmt: skip


def _hindrances(config: ModelConfig) -> Iterator[str]:
    """See Native.serves; what comes later may take for granted that nothing came before."""
    if not config.is_served:
        yield "it is no language model whose layers look back by attention"
    if config.positions is not None or config.embedding_norm is not None or config.num_token_types:
        yield "more than a token's own row goes into its embedding"
    head = config.head
    if head is None or head.dense or head.norm or head.bias:
        yield "its head is more than a matrix"
    if config.final_norm is None or config.final_norm.kind != "rms":
        yield "its last norm is not RMS"
    for block in config.blocks:
        mixer, ffn = block.mixer, block.ffn
        if not isinstance(mixer, AttentionSpec) or block.cross is not None:
            yield "not all of its layers are plain attention"
        if not isinstance(ffn, FfnSpec) or ffn.kind != "glu" or ffn.activation not in ACTIVATIONS:
            yield f"not all of its feed-forward parts are gated by one of {', '.join(ACTIVATIONS)}"
        has_norms = block.has_mixer_norm and block.norm_place in ("before", "around")
        if block.norm.kind != "rms" or not has_norms:
            yield "its norms are not RMS before each part"
        if _shape(block) != _shape(config.blocks[0]):
            yield "its layers differ in shape"


def _shape(block: BlockSpec) -> tuple[int | str, ...]:
    attention, ffn = block.attention, block.dense
    return attention.num_heads, attention.num_kv_heads, attention.head_size, ffn.hidden, block.norm_place
