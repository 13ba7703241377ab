import pytest
import torch
from torch import nn

from mainspring.adapt.quantized import NF4, QuantLinear


def linear(rows=24, columns=64):
    torch.manual_seed(0)
    return nn.Linear(columns, rows).requires_grad_(False)


def nearest(value, table):
    return min(table, key=lambda each: abs(each - value))


@pytest.mark.parametrize("kind", ["nf4", "int4"])
def test_weights_are_the_nearest_values_of_each_block(kind):
    plain = linear()
    quantized = QuantLinear(plain, kind, 64)
    weights = plain.weight.double().flatten().tolist()
    scales = []
    for start in range(0, len(weights), 64):
        largest = max(abs(each) for each in weights[start : start + 64])
        scales.append(largest if kind == "nf4" else largest / 7)
    table = NF4 if kind == "nf4" else range(-8, 8)
    mean = sum(scales) / len(scales)
    step = max(abs(each - mean) for each in scales) / 127
    for at, found in enumerate(quantized.weight.double().flatten().tolist()):
        scale = scales[at // 64]
        kept = mean + round((scale - mean) / step) * step
        assert found == pytest.approx(nearest(weights[at] / scale, table) * kept, rel=1e-4, abs=1e-7)


def test_the_values_are_equally_likely_under_a_normal_distribution():
    """Quantiles of both halves, divided by the largest: arXiv:2305.14314, appendix E."""
    normal = torch.distributions.Normal(0.0, 1.0)
    offset = (1 - 1 / (2 * 15) + 1 - 1 / (2 * 16)) / 2
    above = [float(normal.icdf(torch.tensor(p))) for p in torch.linspace(offset, 0.5, 9)[:-1]]
    below = [-float(normal.icdf(torch.tensor(p))) for p in torch.linspace(offset, 0.5, 8)[:-1]]
    values = sorted([*above, 0.0, *below])
    assert [each / max(values) for each in values] == pytest.approx(list(NF4), abs=1e-5)


def test_a_product_and_its_gradient_are_those_of_the_weights_it_stands_for():
    quantized = QuantLinear(linear(), "nf4", 64)
    x = torch.randn(5, 64, requires_grad=True)
    quantized(x).square().sum().backward()
    other = x.detach().clone().requires_grad_()
    nn.functional.linear(other, quantized.weight, quantized.bias).square().sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_a_weight_takes_little_more_than_half_a_byte():
    quantized = QuantLinear(linear(256, 1024), "nf4", 64)
    size = sum(each.numel() * each.element_size() for each in quantized.buffers())
    assert size / (256 * 1024) < 0.53
