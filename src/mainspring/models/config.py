"""What a model is made of: a list of blocks and what stands before and after them."""

from typing import Literal

from mainspring.config import Config

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


class AttentionSpec(Config):
    """Grouped-query attention; `num_kv_heads` equals `num_heads` for plain multi-head attention."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    bias: bool = False
    causal: bool = True
    rope_theta: float | None = None


class FfnSpec(Config):
    """`glu` multiplies an activated gate with a second projection; `mlp` has the one."""

    kind: Literal["glu", "mlp"]
    hidden: int
    activation: Activation
    bias: bool = False


class NormSpec(Config):
    kind: Literal["rms", "layer"]
    eps: float


class BlockSpec(Config):
    """`norm_first` normalizes what goes into a part (GPT-2, Llama), else what comes out of the sum (BERT)."""

    attention: AttentionSpec
    ffn: FfnSpec
    norm: NormSpec
    norm_first: bool = True


class ModelConfig(Config):
    """A whole model.

    `context` is the most tokens it has positions for. `learned_positions` and `num_token_types` are BERT's
    embeddings, normalized by `embedding_norm`; `final_norm` ends a pre-norm stack. `has_head` says that it
    predicts tokens; `tied` that the head is the embedding. `pooling` makes the hidden states one vector.
    """

    family: str
    vocab_size: int
    width: int
    context: int
    blocks: tuple[BlockSpec, ...]
    learned_positions: bool = False
    num_token_types: int = 0
    embedding_norm: NormSpec | None = None
    final_norm: NormSpec | None = None
    has_head: bool = True
    tied: bool = True
    pooling: Literal["mean", "cls"] | None = None

    @property
    def num_layers(self) -> int:
        return len(self.blocks)
