"""Products of the native step by themselves, against numpy's whole numbers."""

import numpy as np
import pytest
import torch

from fakes_native import multiply

MARCHES = ("x86-64", "x86-64-v3")


@pytest.mark.parametrize(("rows", "outputs", "inputs"), [(1, 32, 4), (13, 50, 40), (30, 200, 1000)])
def test_products_of_bytes_are_exact(rows, outputs, inputs):
    generator = np.random.default_rng(0)
    w_OI = generator.integers(-127, 128, (outputs, inputs))
    x_RI = generator.integers(-127, 128, (rows, inputs))
    w_OI[:, 0] = x_RI[:, 0] = 127  # scales of one, so that nothing is rounded
    found = multiply(torch.tensor(w_OI), torch.tensor(x_RI))
    assert np.array_equal(found.numpy(), (x_RI.astype(np.int32) @ w_OI.T.astype(np.int32)).astype(np.float32))


@pytest.mark.parametrize("inputs", [32, 100])
def test_products_of_four_bits_are_exact(inputs):
    generator = np.random.default_rng(0)
    w_OI = generator.integers(-8, 8, (70, inputs))
    x_RI = generator.integers(-127, 128, (20, inputs))
    for start in range(0, inputs, 32):  # every group reaches its ends: scales of one again
        w_OI[:, start : start + 2] = (-8, 7)
        x_RI[:, start] = 127
    found = multiply(torch.tensor(w_OI), torch.tensor(x_RI), bits=4)
    assert np.array_equal(found.numpy(), (x_RI @ w_OI.T).astype(np.float32))


@pytest.mark.parametrize(("bits", "most"), [(8, 0.012), (4, 0.10)])
def test_products_come_near_to_the_plain_ones(bits, most):
    w_OI, x_RI = torch.randn(96, 576), torch.randn(9, 576)
    plain = x_RI.double() @ w_OI.double().T
    assert (multiply(w_OI, x_RI, bits) - plain).norm() < most * plain.norm()


def test_spreading_saves_rows_of_which_a_few_numbers_stand_out():
    torch.manual_seed(0)
    w_OI, x_RI = torch.randn(96, 576), torch.randn(9, 576)
    x_RI[:, 7] *= 100
    plain = x_RI.double() @ w_OI.double().T
    step_R1 = x_RI.abs().amax(1, keepdim=True) / 127
    rounded = (x_RI / step_R1).round() * step_R1
    unspread = (rounded.double() @ w_OI.double().T - plain).norm()
    assert (multiply(w_OI, x_RI) - plain).norm() < 0.5 * unspread


@pytest.mark.parametrize("bits", [8, 4])
def test_a_row_does_not_know_its_neighbors(bits):
    torch.manual_seed(0)
    w_OI, row_I = torch.randn(80, 96), torch.randn(96)
    alone = multiply(w_OI, row_I[None], bits)[0]
    for count in [*range(1, 40), 64, 100, 127, 255, 512]:
        x_RI = torch.randn(count, 96) * 1e3
        x_RI[count // 3], x_RI[count // 4] = torch.nan, 1e30
        mine = [0, count // 2, count - 1]
        x_RI[mine] = row_I
        assert torch.equal(multiply(w_OI, x_RI, bits)[mine], alone.expand(3, -1)), count


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("bits", [8, 4])
def test_machines_without_the_instructions_give_the_same_bits(bits, march):
    torch.manual_seed(0)
    w_OI, x_RI = torch.randn(100, 544), torch.randn(31, 544)
    assert torch.equal(multiply(w_OI, x_RI, bits, march), multiply(w_OI, x_RI, bits))
