"""Norms and feed-forward parts as torch's compiler makes them: their many small steps become few loops.

What mixes tokens stays as it is, for it asks how long the segments are, and every new length would be compiled anew.

Shapes: T tokens, D width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from mainspring.adapt.quantized import QuantLinear
from mainspring.infer.native.build import NoCompilerError, find_compiler
from mainspring.models.parts.ffn import Glu, Mlp
from mainspring.models.parts.half import RmsNorm
from mainspring.models.parts.moe import Mixture
from mainspring.models.parts.norm import OffsetRmsNorm

Forward = Callable[..., torch.Tensor]
KINDS: tuple[type[nn.Module], ...] = (Glu, Mlp, RmsNorm, OffsetRmsNorm, nn.LayerNorm)


@contextmanager
def compiled(model: nn.Module) -> Iterator[None]:
    """Run these parts compiled for as long as this lasts; they are compiled when they first run.

    Raises:
        NoCompilerError: kernels for processors are C++, and nothing is there to compile it with.

    """
    try:
        compiler = find_compiler()
    except NoCompilerError as error:
        raise NoCompilerError(
            "`train.plan.compile` is true, but there is no C++ compiler, which torch's kernels for processors need. "
            "Install g++ or clang++ (CXX names another one), or set `-o train.plan.compile=false`."
        ) from error
    # What is dropped at random is then the same as without the compiler.
    options = {"fallback_random": True, "cpp.cxx": (None, compiler)}
    forwards = {kind: torch.compile(kind.forward, dynamic=True, options=options) for kind in KINDS}
    parts = _parts(model)
    for part in parts:
        # A copy of the model, such as a reference, takes its own part along: this is no closure.
        part.forward = partial(_run, forwards[type(part)], part)
    try:
        yield
    finally:
        for part in parts:
            del part.forward
        torch.compiler.reset()  # the next run begins as this one did


def _parts(model: nn.Module) -> list[nn.Module]:
    """What is compiled.

    No experts, which may have no rows at all, and nothing in 4 bits, which would be kept whole for the gradient.
    """
    apart = {
        id(each) for mixture in model.modules() if isinstance(mixture, Mixture) for each in mixture.modules()
    }
    return [
        each
        for each in model.modules()
        if type(each) in KINDS
        and id(each) not in apart
        and not any(isinstance(inner, QuantLinear) for inner in each.modules())
    ]


def _run(forward: Forward, part: nn.Module, x_TD: torch.Tensor) -> torch.Tensor:
    """Compiled; an engine that answers meanwhile, in steps of few tokens, runs the part as it is."""
    if torch.is_inference_mode_enabled():
        return type(part).forward(part, x_TD)
    # A number of tokens that the compiler never sees: no kernel depends on the batch that came first.
    torch._dynamo.decorators.mark_unbacked(x_TD, 0)  # noqa: SLF001 - documented, and has no other name
    return forward(part, x_TD)
