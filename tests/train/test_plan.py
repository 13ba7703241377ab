import torch

from mainspring.train.plan import Plan


def test_threads_are_taken_for_a_run_and_given_back():
    before = torch.get_num_threads()
    with Plan(threads=before + 1).applied():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_bf16_reaches_matrix_products_and_fp32_leaves_them_alone():
    linear, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with Plan(dtype="bf16").autocast():
        assert linear(x).dtype == torch.bfloat16
    with Plan(dtype="fp32").autocast():
        assert linear(x).dtype == torch.float32


def test_the_plan_is_told_in_one_line():
    told = Plan(threads=2, micro_batch_tokens=1024).describe()
    assert told == "cpu, fp32, 2 threads, 1,024 tokens at once"
