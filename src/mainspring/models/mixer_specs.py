"""Specs of mixers that are sparser than attention: most keep a state of fixed size instead of looking back.

They stand beside AttentionSpec in config.py's MixerSpec and say the same things of themselves.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from mainspring.config import Config


class StateSpec(Config, ABC):
    """What all of them have: a causal convolution over the last `conv_size` tokens, and a state behind it."""

    conv_size: int
    norm_eps: float
    work_a_number: ClassVar[int] = 5  # decay 1, add 2, read 2

    @property
    def causal(self) -> bool:
        """They only look back."""
        return True

    @property
    def is_paged(self) -> bool:
        """Whether the engine serves it: its cache holds states beside the blocks of keys."""
        return True

    @property
    def cached_numbers(self) -> int:
        """Numbers that a token leaves in the cache: none."""
        return 0

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Numbers of a token that are convolved."""
        ...

    @property
    @abstractmethod
    def memory(self) -> int:
        """Numbers of the state proper."""
        ...

    @property
    def state_numbers(self) -> int:
        """Numbers that a sequence needs whatever its length: the state, and the convolution's last tokens."""
        return self.memory + (self.conv_size - 1) * self.num_channels

    def work(self, num_keys: int) -> int:
        """Multiplications and additions of one token's step, which is the same behind few tokens and many."""
        return 2 * self.conv_size * self.num_channels + self.work_a_number * self.memory


class MambaSpec(StateSpec):
    """Mamba-1's selective state space: every one of `inner` channels has a state of `state_size` numbers.

    Time steps come of a projection to `dt_rank` numbers and back. `norm_eps` is that of the norms of time
    steps, inputs and outputs of the state (Jamba). `bias` is that of the outer projections.
    """

    kind: Literal["mamba"] = "mamba"
    inner: int
    state_size: int
    dt_rank: int
    work_a_number: ClassVar[int] = 6  # a decay for every number as well
    conv_bias: bool = True
    bias: bool = False

    @property
    def summary(self) -> str:
        """What a drawing says of it."""
        return f"mamba {self.inner:,} x {self.state_size}"

    @property
    def num_channels(self) -> int:
        return self.inner

    @property
    def memory(self) -> int:
        return self.inner * self.state_size


class Mamba2Spec(StateSpec):
    """Mamba-2: every head of `head_size` channels has one decay and a state of (head_size, state_size) numbers.

    `num_groups` of heads share what is put into and read out of the state. Time steps are kept between
    `dt_min` and `dt_max`. `chunk` is how many tokens are computed together; it changes no result.
    """

    kind: Literal["mamba2"] = "mamba2"
    num_heads: int
    head_size: int
    state_size: int
    num_groups: int = 1
    conv_bias: bool = True
    bias: bool = False
    dt_min: float = 0.0
    dt_max: float = float("inf")
    chunk: int = 256

    @property
    def summary(self) -> str:
        """What a drawing says of it."""
        return f"mamba 2, {self.num_heads} x {self.head_size} x {self.state_size}"

    @property
    def inner(self) -> int:
        """Numbers of all heads."""
        return self.num_heads * self.head_size

    @property
    def num_channels(self) -> int:
        return self.inner + 2 * self.num_groups * self.state_size

    @property
    def memory(self) -> int:
        return self.inner * self.state_size


class DeltaSpec(StateSpec):
    """The gated delta rule: every value head has a state of (key_size, value_size) numbers that it corrects.

    `num_heads` value heads share the queries and keys of `num_key_heads`.
    """

    kind: Literal["delta"] = "delta"
    num_heads: int
    num_key_heads: int
    work_a_number: ClassVar[int] = 8  # read twice, with the key and with the query
    key_size: int
    value_size: int

    @property
    def summary(self) -> str:
        """What a drawing says of it."""
        return f"gated delta rule {self.num_heads} x {self.key_size} x {self.value_size}"

    @property
    def num_channels(self) -> int:
        return 2 * self.num_key_heads * self.key_size + self.num_heads * self.value_size

    @property
    def memory(self) -> int:
        return self.num_heads * self.key_size * self.value_size


class LongformerSpec(Config):
    """Attention within a window both ways, and everywhere for the first `num_global` tokens of a segment.

    A token sees as many tokens as `window`, half of them on either side, and the global ones; these see all
    tokens, by queries, keys and values of their own.
    """

    kind: Literal["longformer"] = "longformer"
    num_heads: int
    head_size: int
    window: int
    num_global: int = 1

    @property
    def summary(self) -> str:
        """What a drawing says of it."""
        return f"attention {self.num_heads} x {self.head_size}, window {self.window:,} + {self.num_global}"

    @property
    def causal(self) -> bool:
        """It looks both ways."""
        return False

    @property
    def is_paged(self) -> bool:
        """Whether the engine's paged cache serves it."""
        return False

    @property
    def cached_numbers(self) -> int:
        """Numbers that a token leaves in the cache: none, as it is not decoded step by step."""
        return 0

    @property
    def state_numbers(self) -> int:
        """Numbers that a sequence needs whatever its length: none."""
        return 0

    def work(self, num_keys: int) -> int:
        """Multiplications and additions of one token's scores and mixing, the global ones' share left out."""
        return 4 * self.num_heads * self.head_size * min(num_keys, self.window + 1 + self.num_global)


class LstmSpec(Config):
    """Long short-term memory: the recurrent net that attention took over from, `hidden` numbers wide."""

    kind: Literal["lstm"] = "lstm"
    hidden: int

    @property
    def causal(self) -> bool:
        """It only looks back."""
        return True

    @property
    def is_paged(self) -> bool:
        """Whether the engine serves it: its cache holds states beside the blocks of keys."""
        return True

    @property
    def cached_numbers(self) -> int:
        """Numbers that a token leaves in the cache: none."""
        return 0

    @property
    def state_numbers(self) -> int:
        """Numbers that a sequence needs whatever its length: what it says, and its cell."""
        return 2 * self.hidden

    @property
    def summary(self) -> str:
        return f"LSTM {self.hidden:,}"

    def work(self, num_keys: int) -> int:
        """Multiplications and additions of one token beside the matrices: the gates' 3 products and 1 sum."""
        return 4 * self.hidden
