"""Spread what goes into a linear so that no number stands out: 8 bits then hold a row with one scale.

A few channels of a decoder are tens of times larger than the others and would leave little of a shared scale to the
rest. A row times an orthogonal matrix H, and the weights' inputs likewise, give the same products: (x H)(W H)^T =
x W^T. The step multiplies rows by the fast Walsh-Hadamard transform, within blocks of a power of two that divides
their length; the weights are multiplied here, once.

Paper: arXiv:2404.00456 (QuaRot), section 4; it turns the residual stream as a whole as well, inside the weights. That
saves three transforms a layer, which cost a hundredth of a step, and needs the norms' weights folded into linears:
measured here, that loses more than it saves (perplexity of SmolLM2 +0.6 to +1.2 % by the random matrix that is
drawn, against +0.6 % like this and +2.5 % without any).

Weights of 4 bits stay in their own basis: many published ones were rounded by groups of 32 inputs before, which
would be lost, and their rows have a scale for each group.

Shapes: X anything, I inputs of a linear, P a block of them.
"""

import torch

MOST, LANES = 512, 16


def block_of(size: int, bits: int) -> int:
    """How many numbers of a row are spread together; 1: none."""
    power = min(size & -size, MOST)
    return power if bits == 8 and power >= LANES else 1


def spread(x_XI: torch.Tensor, bits: int) -> torch.Tensor:
    """Weights, or factors beside them, for rows that the step has spread. Its transform is not scaled, so this is."""
    size = block_of(x_XI.shape[-1], bits)
    matrix_PP = torch.ones(1, 1)
    while len(matrix_PP) < size:
        above, below = torch.cat([matrix_PP, matrix_PP], 1), torch.cat([matrix_PP, -matrix_PP], 1)
        matrix_PP = torch.cat([above, below])
    return x_XI if size == 1 else (x_XI.unflatten(-1, (-1, size)) @ (matrix_PP / size)).flatten(-2)
