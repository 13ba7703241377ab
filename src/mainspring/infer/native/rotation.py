"""Turn what flows between linears so that no number stands out: 8 bits then hold it almost without loss.

A few channels of a decoder are tens of times larger than the others, and one scale for a whole row leaves little
for the rest. A rotation spreads them evenly and changes nothing else. The residual stream may be turned as a whole,
because an RMS norm does not see it once its weights are in the next linear; so may the values of every head. These
turns disappear into the weights on both sides. Elsewhere (before the down projection, and where norms stand behind
parts too) the step itself spreads a linear's rows, by the fast transform.

Papers: arXiv:2404.00456 (QuaRot), section 4, with a random orthogonal factor where a size is no power of two;
arXiv:2405.16406 (SpinQuant), section 3.1, whose R1, R2 and R4 these are.

Weights of 4 bits stay in their own basis: their scales are those of 32 inputs, which many published weights were
rounded by before, and the rows have as many scales.

Shapes: X anything, D a size that is turned, P its power of two, Q the rest (D = Q * P), I inputs and O outputs of a
linear.
"""

import math
from collections.abc import Mapping

import torch

from mainspring.models.config import ModelConfig

STREAM_SEED, HEAD_SEED = 0, 1
MOST_SPREAD, LANES = 512, 16


class Rotation:
    """An orthogonal matrix of size D that is quick to multiply with: signs, Hadamard within, random between."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._power = size & -size
        rest = size // self._power
        self._sign_D = torch.randint(0, 2, (size,), generator=generator).float() * 2 - 1
        random_QQ = torch.randn(rest, rest, dtype=torch.float64, generator=generator)
        self._between_QQ = torch.linalg.qr(random_QQ).Q.float()

    def turn(self, x_XD: torch.Tensor) -> torch.Tensor:
        """Every row times the matrix."""
        within_XQP = hadamard((x_XD * self._sign_D).unflatten(-1, (-1, self._power)))
        return (self._between_QQ @ within_XQP).flatten(-2)


def hadamard(x_XP: torch.Tensor) -> torch.Tensor:
    """Rows of a power of two of numbers times Sylvester's matrix, scaled to be orthogonal."""
    size = x_XP.shape[-1]
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return x_XP @ (matrix / math.sqrt(size))


def power_of(size: int) -> int:
    """How many numbers the step spreads together; 1: none."""
    power = min(size & -size, MOST_SPREAD)
    return power if power >= LANES else 1


class Turns:
    """What becomes of the weights of one model: of its linears, and of factors beside them.

    Args:
        config: the model.
        norms: weights of the norms before linears by name, as `blocks.0.ffn_norm`.
        bits: of its weights.

    """

    def __init__(self, config: ModelConfig, norms: Mapping[str, torch.Tensor], bits: int) -> None:
        attention, ffn = config.blocks[0].attention, config.blocks[0].dense
        is_turned = bits == 8
        self.has_stream = is_turned and all(block.norm_place == "before" for block in config.blocks)
        self._stream = Rotation(config.width, STREAM_SEED)
        self._heads = Rotation(attention.head_size, HEAD_SEED) if is_turned else None
        self._head_size, self._norms = attention.head_size, norms
        width = 1 if self.has_stream else power_of(config.width)
        within = width if is_turned else 1
        self._spreads = {
            "head": width, **dict.fromkeys(("q", "k", "v", "gate", "up"), within), "o": 1,
            "down": power_of(ffn.hidden) if is_turned else 1,
        }  # fmt: skip

    def spread(self, path: str) -> int:
        """How many numbers the step spreads together before the linear at `path`."""
        return self._spreads[path.rpartition(".")[2]]

    def stream(self, x_XD: torch.Tensor) -> torch.Tensor:
        """Rows of the residual stream."""
        return self._stream.turn(x_XD) if self.has_stream else x_XD

    def inputs(self, path: str, x_XI: torch.Tensor) -> torch.Tensor:
        """Rows that meet the inputs of the linear at `path`, as `blocks.0.mixer.q` or `head`."""
        layer, _, name = path.rpartition(".")
        if name == "o":
            return self._by_heads(x_XI)
        if name != "down" and self.has_stream:
            x_XI = self.stream(x_XI * self._norms["final_norm" if name == "head" else f"{layer}_norm"])
        size = self.spread(path)
        # The step's transform is not scaled.
        return x_XI if size == 1 else hadamard(x_XI.unflatten(-1, (-1, size))).flatten(-2) / math.sqrt(size)

    def outputs(self, path: str, x_OX: torch.Tensor) -> torch.Tensor:
        """Columns that make the outputs of the linear at `path`."""
        name = path.rpartition(".")[2]
        if name == "v":
            return self._by_heads(x_OX.t()).t()
        return self.stream(x_OX.t()).t() if name in ("o", "down") else x_OX

    def _by_heads(self, x_XD: torch.Tensor) -> torch.Tensor:
        if self._heads is None:
            return x_XD
        return self._heads.turn(x_XD.unflatten(-1, (-1, self._head_size))).flatten(-2)
