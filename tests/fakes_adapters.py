"""What the tests of all kinds of adapters share."""

import torch

from mainspring.adapt import base as adapters
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model

IDS = torch.arange(20) * 7 % 250
LENGTHS = [5, 11, 4]


def tiny(name="llama", dtype=torch.float64, seed=0):
    """A model with weights that make attention and feed-forward matter."""
    generator = torch.Generator().manual_seed(seed)
    model = Model(family(name).tiny())
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "norm" not in key:
                weight.normal_(std=0.15, generator=generator)
    return model.to(dtype).eval()


def disturb(model, name="default", seed=1, spread=0.2):
    """Make the adapter say something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in adapters.parts(model, name).values():
            for weight in part.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator).to(weight.dtype), alpha=spread)


def hidden(model, ids=IDS, lengths=None):
    lengths = lengths or [len(ids)]
    pos = torch.cat([torch.arange(length) for length in lengths])
    return model(ids, pos, PackedAttend(lengths))


def assert_near(found, expected, relative):
    assert found.shape == expected.shape
    difference = float((found.detach() - expected.detach()).norm() / expected.detach().norm())
    assert difference <= relative, difference


def assert_packed_is_alone_and_nothing_leaks(model, relative=1e-12):
    """Every packed segment's states are its own, and depend on no token of another."""
    embedded = []
    hook = model.embedding.register_forward_hook(
        lambda _, __, x: embedded.append(x.detach().requires_grad_()) or embedded[-1]
    )
    packed = hidden(model, IDS, LENGTHS)
    hook.remove()
    starts = [0, 5, 16]
    for start, length in zip(starts, LENGTHS, strict=True):
        rows = slice(start, start + length)
        assert_near(packed[rows], hidden(model, IDS[rows]), relative)
        (gradient,) = torch.autograd.grad(packed[rows].square().sum(), embedded[0], retain_graph=True)
        others = torch.ones(len(IDS), dtype=torch.bool)
        others[rows] = False
        assert gradient[rows].abs().sum() > 0
        assert torch.equal(gradient[others], torch.zeros_like(gradient[others]))
