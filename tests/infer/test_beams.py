import pytest
import torch

from fakes_bpe import make_tokenizer
from fakes_engine import PLAN, make_model, running
from mainspring.errors import MainspringError
from mainspring.infer.chat_model import EngineChat
from mainspring.schema import Ask, Sampling

pytestmark = pytest.mark.slow

PROMPT = [5, 17, 40, 9]


@pytest.fixture(scope="module")
def model():
    return make_model(seed=1)


def search(model, beams, penalty, ends, n=1, max_tokens=8, **sampling):
    with running(model) as engine:
        tokenizer = make_tokenizer()
        tokenizer.end_ids = tuple(ends)
        chat = EngineChat("tiny", engine, tokenizer, PLAN, model="model/tiny@1")
        ask = Ask(beams=beams, n=n, length_penalty=penalty)
        deltas = []
        wanted = Sampling(max_tokens=max_tokens, **sampling)
        return chat.complete(PROMPT, wanted, deltas.append, ask=ask).replies(), deltas


def oracle(model, beams, penalty, ends, n=1, max_tokens=8):
    from oracle_llama import in_transformers

    found = in_transformers(model).generate(
        torch.tensor([PROMPT]), num_beams=beams, num_return_sequences=n, do_sample=False, max_new_tokens=max_tokens,
        length_penalty=penalty, eos_token_id=list(ends), pad_token_id=0, early_stopping=False,
    )  # fmt: skip
    rows = []
    for row in found[:, len(PROMPT) :].tolist():
        end = next((place for place, each in enumerate(row) if each in ends), len(row))
        rows.append((tuple(row[:end]), "stop" if end < len(row) else "length"))
    return rows


def frequent(model):
    """Ids that some beams choose early, so that hypotheses of many lengths end."""
    (reply,), _ = search(model, 1, 1.0, (2,), max_tokens=3)
    wide, _ = search(model, 4, 1.0, (2,), n=4, max_tokens=4)
    return (wide[1].ids[-1], wide[3].ids[2] if wide[3].ids[2] != reply.ids[0] else 2)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("beams", [2, 3, 5])
def test_hypotheses_are_those_of_transformers(model, beams, penalty):
    for ends in ((2,), frequent(model)):
        replies, _ = search(model, beams, penalty, ends, n=beams)
        wanted = oracle(model, beams, penalty, ends, n=beams)
        assert [(reply.ids, reply.finish_reason) for reply in replies] == wanted


def test_beams_give_the_same_every_time_and_come_as_replies(model):
    replies, deltas = search(model, 3, 1.0, (2,), n=2, logprobs=2)
    again, _ = search(model, 3, 1.0, (2,), n=2, logprobs=2)
    assert [reply.ids for reply in replies] == [reply.ids for reply in again]
    assert replies[0].logprob >= replies[1].logprob
    assert [delta.reply for delta in deltas if delta.reply is not None] == replies
    for reply in replies:
        assert [each.id for each in reply.logprobs] == list(reply.ids)
        assert all(len(each.alternatives) == 2 for each in reply.logprobs)


def test_a_receiver_that_fails_ends_all_of_its_replies(model):
    def failing(delta):
        raise ConnectionError("gone")

    with running(model) as engine:
        chat = EngineChat("tiny", engine, make_tokenizer(), PLAN, model="model/tiny@1")
        started = chat.complete(PROMPT, Sampling(max_tokens=4), failing, ask=Ask(beams=3, n=2))
        with pytest.raises(MainspringError, match="ConnectionError: gone"):
            started.replies()
