"""What a model is made of: stacks of blocks, and what stands before and after them.

ModelConfig (a stack, and what makes it a language model)
├── blocks: BlockSpec            norm, mixer, norm, feed-forward
│   ├── mixer: MixerSpec         what lets tokens see each other: AttentionSpec, LatentSpec, mixer_specs.py
│   ├── cross: AttentionSpec     a decoder's look at its encoder
│   └── ffn: FfnSpec             or MoeSpec, many of them of which a token takes a few
├── encoder: StackSpec           of encoder-decoder models
└── head: HeadSpec               what is made of the hidden states
"""

from typing import Annotated, Literal

from pydantic import Field

from mainspring.config import Config
from mainspring.models.mixer_specs import DeltaSpec, LongformerSpec, LstmSpec, Mamba2Spec, MambaSpec

Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "tanh"]
Pooling = Literal["mean", "cls", "max", "last"]


class RopeScaling(Config):
    """How rotary positions reach beyond the `original_context` that a model was trained with first.

    linear: positions are divided by `factor`. ntk: the base grows instead. yarn: fast pairs stay (more than
    `beta_fast` turns in the original context), slow ones (below `beta_slow`) are divided, scores sharpened by
    `attention_factor` or what the `mscale`s give. llama3: the same by wavelength, between the two frequency
    factors. dynamic: as published, no change within the context; beyond it the angles of tokens already read
    would have to change, so nothing longer is taken.
    """

    kind: Literal["linear", "ntk", "dynamic", "yarn", "llama3"]
    factor: float
    original_context: int | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0


class RopeSpec(Config):
    """Rotary positions of base `theta` over the first `size` numbers of a head (None: all of them)."""

    theta: float
    size: int | None = None
    scaling: RopeScaling | None = None


class NormSpec(Config):
    """`unit_offset` stores a weight as its distance from one (Gemma)."""

    kind: Literal["rms", "layer"]
    eps: float
    bias: bool = True
    unit_offset: bool = False


class AttentionSpec(Config):
    """Grouped-query attention; `num_kv_heads` equals `num_heads` for plain multi-head attention.

    `bias` is that of the projections to queries, keys and values, `out_bias` that of the one behind.
    `window`: a token sees as many of the last tokens, itself among them; if not causal, as many in all, half
    of them on either side. `softcap` bends scores towards a bound. `scale` replaces head_size ** -0.5.
    `head_norm` normalizes every query and key. `alibi` lets scores fall with the distance, by slopes that
    halve from head to head down to 2 ** -alibi. `has_gate`: every head's output is scaled by the sigmoid of
    a projection that lies behind the head's query.
    """

    kind: Literal["attention"] = "attention"
    num_heads: int
    num_kv_heads: int
    head_size: int
    bias: bool = False
    out_bias: bool = False
    causal: bool = True
    rope: RopeSpec | None = None
    window: int | None = None
    softcap: float | None = None
    scale: float | None = None
    head_norm: NormSpec | None = None
    alibi: float | None = None
    has_gate: bool = False

    @property
    def is_paged(self) -> bool:
        """Whether the engine's paged cache knows how to score it, and its probe every step behind."""
        return self.alibi is None

    @property
    def cached_numbers(self) -> int:
        """Numbers that a token leaves in the cache: its keys and its values."""
        return 2 * self.num_kv_heads * self.head_size

    @property
    def state_numbers(self) -> int:
        """Numbers that a sequence needs whatever its length: none."""
        return 0

    def work(self, num_keys: int) -> int:
        """Multiplications and additions of one token's scores and mixing over so many keys."""
        seen = num_keys if self.window is None else min(num_keys, self.window)
        return 4 * self.num_heads * self.head_size * seen


class LatentSpec(Config):
    """Multi-head latent attention: keys and values of all heads are made of one small vector a token.

    That latent of `kv_rank` numbers and one rotated key of `rope_size`, shared by all heads, are what a cache
    stores. A head's key is `plain_size` numbers of the latent and the rotated key, its value `value_size`
    numbers of the latent. Queries come of a latent of `q_rank` numbers, or None: of the token itself. `norm`
    is that of the latents. `is_interleaved`: rotated pairs stand side by side instead of in two halves.
    `scale` replaces (plain_size + rope_size) ** -0.5.
    """

    kind: Literal["latent"] = "latent"
    num_heads: int
    q_rank: int | None
    kv_rank: int
    plain_size: int
    rope_size: int
    value_size: int
    rope: RopeSpec
    norm: NormSpec
    is_interleaved: bool = False
    scale: float | None = None

    @property
    def is_paged(self) -> bool:
        """Whether the engine's paged cache knows how to score it."""
        return True

    @property
    def causal(self) -> bool:
        """It only looks back."""
        return True

    @property
    def cached_numbers(self) -> int:
        """Numbers that a token leaves in the cache: its latent, which holds the values, and the rotated key."""
        return self.kv_rank + self.rope_size

    @property
    def state_numbers(self) -> int:
        """Numbers that a sequence needs whatever its length: none."""
        return 0

    def work(self, num_keys: int) -> int:
        """Multiplications and additions of one token's scores and mixing over so many latents."""
        return 2 * self.num_heads * (2 * self.kv_rank + self.rope_size) * num_keys


Mixers = AttentionSpec | LatentSpec | MambaSpec | Mamba2Spec | DeltaSpec | LongformerSpec | LstmSpec
MixerSpec = Annotated[Mixers, Field(discriminator="kind")]


class FfnSpec(Config):
    """`glu` multiplies an activated gate with a second projection; `mlp` has the one."""

    kind: Literal["glu", "mlp"]
    hidden: int
    activation: Activation
    bias: bool = False

    def idle_parameters(self, width: int) -> int:
        """Weights that a token does not reach: none."""
        return 0


class MoeSpec(Config):
    """A router sends every token to `num_chosen` of `num_experts` feed-forward parts and weighs what they say.

    `scores` says what the router's product becomes. `is_normalized` divides the chosen scores by their sum,
    `scale` multiplies them. `has_balance`: a number for every expert is added to its score when experts are
    chosen, not when they are weighed. Of `num_groups` groups of neighbors only the best `num_chosen_groups`
    are chosen from. `shared` sees every token and is added, scaled by the sigmoid of a number that the token
    says itself if it `has_shared_gate`.
    """

    kind: Literal["moe"] = "moe"
    num_experts: int
    num_chosen: int
    expert: FfnSpec
    shared: FfnSpec | None = None
    has_shared_gate: bool = False
    scores: Literal["softmax", "sigmoid"] = "softmax"
    is_normalized: bool = False
    scale: float = 1.0
    has_balance: bool = False
    num_groups: int = 1
    num_chosen_groups: int = 1

    def idle_parameters(self, width: int) -> int:
        """Weights that a token does not reach: those of the experts that were not chosen."""
        matrices = 3 if self.expert.kind == "glu" else 2
        biases = (matrices - 1) * self.expert.hidden + width if self.expert.bias else 0
        return (self.num_experts - self.num_chosen) * (matrices * self.expert.hidden * width + biases)


class BlockSpec(Config):
    """One layer. Norms stand before a part (GPT-2, Llama), behind the sum (BERT) or on both its sides (Gemma).

    `has_mixer_norm` is false where a norm of the embedding takes the first one's place (ModernBERT).
    """

    mixer: MixerSpec
    cross: AttentionSpec | None = None
    ffn: Annotated[FfnSpec | MoeSpec, Field(discriminator="kind")] | None
    norm: NormSpec
    norm_place: Literal["before", "behind", "around", "nowhere"] = "before"
    has_mixer_norm: bool = True

    @property
    def attention(self) -> AttentionSpec:
        """The mixer, for families that have no other kind."""
        assert isinstance(self.mixer, AttentionSpec), f"a layer has a mixer of kind '{self.mixer.kind}'"
        return self.mixer

    @property
    def dense(self) -> FfnSpec:
        """The feed-forward part, for families whose tokens all go through the same."""
        assert isinstance(self.ffn, FfnSpec), "a layer has no feed-forward part, or one of many experts"
        return self.ffn


class RelativeSpec(Config):
    """A bias of the scores by distance, one for every head, learnt in buckets that widen with it (T5)."""

    num_heads: int
    num_buckets: int
    max_distance: int
    causal: bool


class PositionSpec(Config):
    """Positions that are added to the embedding; a table of `size` rows is read from row `offset` on."""

    kind: Literal["learned", "sinusoidal"] = "learned"
    size: int
    offset: int = 0


class StackSpec(Config):
    """Blocks, and what is done to the embedding before and to the hidden states behind them."""

    blocks: tuple[BlockSpec, ...]
    positions: PositionSpec | None = None
    relative: RelativeSpec | None = None
    num_token_types: int = 0
    embedding_scale: float = 1.0
    embedding_norm: NormSpec | None = None
    final_norm: NormSpec | None = None

    @property
    def num_layers(self) -> int:
        return len(self.blocks)


class HeadSpec(Config):
    """What is made of hidden states.

    `lm` scores the next token, `masked` the token itself; `tied` takes the embedding as the matrix. `dense`
    is an activated projection of the width before it, `norm` a norm behind that. `classify` and
    `classify_tokens` score `num_labels` (one for a reward); `pooling` says of which token where it is one for
    a text.
    `softcap` bends the scores towards a bound, `scale` multiplies the hidden states.
    """

    kind: Literal["lm", "masked", "classify", "classify_tokens"] = "lm"
    tied: bool = False
    bias: bool = False
    dense: Activation | None = None
    dense_bias: bool = True
    norm: NormSpec | None = None
    num_labels: int = 0
    pooling: Pooling | None = None
    softcap: float | None = None
    scale: float = 1.0


class ModelConfig(StackSpec):
    """A whole model.

    `context` is the most tokens it has positions for. `pooling` makes a text's hidden states one vector.
    """

    family: str
    vocab_size: int
    width: int
    context: int
    encoder: StackSpec | None = None
    head: HeadSpec | None = None
    pooling: Pooling | None = None

    @property
    def is_served(self) -> bool:
        """Whether the engine can generate with it: a language model whose layers look back only."""
        is_language_model = self.head is not None and self.head.kind == "lm" and self.encoder is None
        return is_language_model and self.is_causal and all(block.mixer.is_paged for block in self.blocks)

    @property
    def has_states(self) -> bool:
        """Whether some layer carries a state from token to token, which cannot be taken back."""
        return any(block.mixer.state_numbers for block in self.blocks)

    @property
    def task(self) -> Literal["chat", "embedding", "rerank", ""]:
        """What it can be served for: generating text, vectors of texts, one score of a text; or nothing."""
        if self.is_served:
            return "chat"
        if self.head is None:
            return "embedding" if self.pooling is not None and self.encoder is None else ""
        scores_texts = self.head.kind == "classify" and self.head.num_labels == 1
        return "rerank" if scores_texts and self.head.pooling is not None else ""

    @property
    def is_causal(self) -> bool:
        """Whether no token sees a later one, so that it can be decoded step by step."""
        return all(block.mixer.causal for block in self.blocks)
