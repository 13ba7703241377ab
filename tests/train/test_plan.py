import platform
import subprocess
import sys

import pytest
import torch

from mainspring.train.batch import Segment, pack
from mainspring.train.outputs import run_model
from mainspring.train.plan import Plan


def test_threads_are_taken_for_a_run_and_given_back(model):
    before = torch.get_num_threads()
    with Plan(threads=before + 1).applied(model):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


MEMORY = """
import resource
import torch
from mainspring.device import kept_memory

def page_faults_of(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = page_faults_of(2**24), page_faults_of(2**24 - 1024)
with kept_memory():
    page_faults_of(2**24)
    print(*first, page_faults_of(2**24 - 1024))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other allocators keep large memory by themselves"
)
def test_a_run_asks_the_system_once_for_memory_that_it_uses_again():
    """In a process of its own: what others have freed would be found here."""
    done = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    first, again, kept = map(int, done.stdout.split())
    assert kept < again / 10
    assert first > 100


def test_bf16_reaches_matrix_products_and_fp32_leaves_them_alone():
    linear, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with Plan(dtype="bf16").autocast():
        assert linear(x).dtype == torch.bfloat16
    with Plan(dtype="fp32").autocast():
        assert linear(x).dtype == torch.float32


def test_the_plan_is_told_in_one_line():
    told = Plan(threads=2, micro_batch_tokens=1024).describe()
    assert told == "cpu, fp32, 2 threads, 1,024 tokens at once"


def test_checkpointing_changes_no_gradient(model):
    (batch,) = pack([(Segment(ids=list(range(40)), weight=[1] * 40, name="one"),)], 64)
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        with Plan(threads=1, checkpointing=checkpointing).applied(model):
            run_model(model, batch).logp_T.sum().backward()
        gradients.append([each.grad.clone() for each in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert "forward" not in vars(model.blocks[0])


def test_double_precision_reaches_the_weights(model):
    with Plan(dtype="fp64").applied(model):
        assert {each.dtype for each in model.parameters()} == {torch.float64}
