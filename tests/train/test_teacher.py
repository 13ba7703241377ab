import pytest
import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.errors import ChatError, ContextLengthError
from mainspring.train.batch import Segment
from mainspring.train.teacher import answer_nll, greedy
from oracle_llama import in_transformers


def test_the_likelihood_of_an_answer_is_that_of_an_independent_model_whatever_is_packed_with_it(
    model, source
):
    oracle = in_transformers(model)
    segments = [source.item(index)[0] for index in range(source.num_items)]
    expected = []
    for segment in segments:
        with torch.no_grad():
            log_p = oracle(torch.tensor([segment.ids])).logits[0, :-1].log_softmax(-1)
        picked = log_p.gather(1, torch.tensor(segment.ids[1:])[:, None])[:, 0]
        weight = torch.tensor(segment.weight[1:], dtype=torch.float32)
        expected.append(float(-(picked * weight).sum() / weight.sum()))
    assert answer_nll(model, segments) == pytest.approx(expected, rel=1e-4)
    assert answer_nll(model, segments, max_tokens=60) == pytest.approx(expected, rel=1e-4)


def test_the_active_adapter_answers(model, source):
    plain = answer_nll(model, [source.item(0)[0]])
    lora.add(model, lora.Lora(), "a")
    for pair in lora.pairs(model, "a").values():
        torch.nn.init.normal_(pair.b_OR, std=0.1)
    assert answer_nll(model, [source.item(0)[0]]) != plain
    adapters.activate(model, None)
    assert answer_nll(model, [source.item(0)[0]]) == plain


def test_a_segment_without_an_answer_has_no_likelihood(model):
    with pytest.raises(ChatError, match="s has no answer"):
        answer_nll(model, [Segment(ids=[1, 2], weight=[1, 0], name="s")])


def test_greedy_text_is_that_of_an_independent_model(model):
    prompt = [5, 250, 17, 99]
    theirs = in_transformers(model).generate(
        torch.tensor([prompt]),
        max_new_tokens=24,
        do_sample=False,
        use_cache=False,
        pad_token_id=0,
        eos_token_id=287,
    )[0, 4:]
    expected = [token for token in theirs.tolist() if token != 287]
    assert greedy(model, prompt, 24, {287}) == expected
    assert len(expected) > 2


def test_greedy_stops_before_the_end_token_and_at_the_context(model):
    prompt = [5, 250, 17, 99]
    free = greedy(model, prompt, 10, ())
    assert len(free) == 10
    assert greedy(model, prompt, 10, {free[3]}) == free[: free.index(free[3])]
    assert len(greedy(model, [1] * 250, 20, ())) == model.config.context - 250


def test_a_prompt_that_leaves_no_room_is_refused(model):
    with pytest.raises(ContextLengthError, match="The prompt has 256 tokens"):
        greedy(model, [1] * 256, 1, ())
