"""A draft model changes no answer, whatever it guesses; it only saves steps."""

from contextlib import contextmanager

import msgspec
import pytest

from conftest import make_tokenizer
from fakes_engine import (
    Received,
    make_model,
    make_request,
    open_backend,
    open_host,
    run_alone,
    run_together,
)  # fmt: skip
from fakes_workspace import add_model, word_tokenizer
from mainspring.app import Workspace
from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.infer.backends.live import Live
from mainspring.infer.drafts import DraftModel
from mainspring.infer.engine import Engine
from mainspring.infer.replay import Recording, replay
from mainspring.infer.request import EngineConfig
from mainspring.infer.tempo import Tempo
from mainspring.models.model import Model
from mainspring.models.save import save
from mainspring.schema import Message, Sampling
from mainspring.serve.settings import ServeSettings

LENGTHS = (1, 15, 16, 33, 90, 129)
MIXED = [make_request(n, max_tokens=24) for n in LENGTHS] + [
    make_request(n, seed=n, max_tokens=24) for n in LENGTHS
]


@pytest.fixture(scope="module")
def alone(model, backend):
    return run_alone(model, MIXED, backend=backend, speculation=False)


@contextmanager
def drafted(model, draft, backend, cost: float | None = 0.1, **sizes):
    """An engine with a draft model; `cost` is what its pace believes, None to let it measure."""
    config = EngineConfig(**({"num_blocks": 256, "backend": backend} | sizes))
    larger = DraftModel.sizes(config)
    behind = open_backend(draft, larger) if backend == "native" else Live(draft, larger)
    guesser = DraftModel(behind, config, draft.config.vocab_size)
    with Engine(open_backend(model, config), config, draft=guesser) as engine:
        if cost is not None:
            guesser.limit = lambda row_cost, tempo: guesser.pace.limit(cost)
            engine._scheduler.tempo.row_cost = lambda num_decoding: 0.0
        yield engine


def test_a_draft_that_knows_fewer_ids_does_not_guess_where_others_stand(model, backend):
    requests = [
        make_request(33, seed=1),
        msgspec.structs.replace(make_request(33), ids=(*range(280, 287), 1)),
    ]
    config = model.config.model_copy(update={"vocab_size": 280})
    with drafted(model, Model(config).eval().requires_grad_(False), backend) as engine:
        assert run_together(engine, requests) == run_alone(
            model, requests, backend=backend, speculation=False
        )


@pytest.mark.parametrize(
    "sizes", [{}, {"max_step_tokens": 24}, {"num_blocks": 40}, {"prefix_cache": False}, {"block_size": 32}]
)
def test_a_draft_of_the_same_weights_is_nearly_always_right_and_changes_nothing(model, alone, backend, sizes):
    with drafted(model, model, backend, **sizes) as engine:
        assert run_together(engine, MIXED) == alone
        assert run_together(engine, MIXED) == alone
        stats = engine.stats()
    assert stats.accepted_tokens > 90  # a step of 24 tokens has little room
    assert stats.accepted_tokens > 0.9 * stats.draft_tokens


def test_a_wrong_draft_changes_nothing_and_is_not_asked_for_long(model, backend):
    requests = [make_request(n, max_tokens=120) for n in (5, 40)] + [make_request(9, seed=1, max_tokens=120)]
    expected = run_alone(model, requests, backend=backend, speculation=False)
    with drafted(model, make_model(seed=5), backend, cost=None) as engine:
        assert run_together(engine, requests) == expected
        assert 0 < engine.stats().draft_tokens < 200


def test_answers_that_share_a_prompt_are_guessed_as_others(model, backend):
    requests = [make_request(37, seed=seed, max_tokens=24) for seed in range(5)]
    expected = run_alone(model, requests, backend=backend, speculation=False)
    with drafted(model, model, backend) as engine:
        sinks = [Received() for _ in requests]
        engine.submit_all(requests, sinks)
        assert [sink.result for sink in sinks] == expected
        assert engine.stats().accepted_tokens > 60


def test_what_was_recorded_with_a_draft_is_equal_without_and_the_other_way_round(model):
    def record(engine, request, result):
        return Recording(
            model="m", backend="torch_eager", mode="exact", fingerprint=engine.fingerprint, request=request,
            ids=result[0], logprobs=result[1],
        )  # fmt: skip

    with (
        drafted(model, model, "torch_eager") as with_draft,
        drafted(model, model, "torch_eager", speculation=False) as without,
    ):
        for one, other in ((with_draft, without), (without, with_draft)):
            recordings = [record(one, *pair) for pair in zip(MIXED, run_together(one, MIXED), strict=True)]
            assert replay(recordings, other) == [None] * len(MIXED)
        assert without.stats().draft_tokens == 0 < with_draft.stats().accepted_tokens


@pytest.fixture
def cheap(monkeypatch):
    """Guesses are taken for cheap, whatever the machine does meanwhile."""
    monkeypatch.setattr(Tempo, "row_cost", lambda self, num_decoding: 0.0)
    monkeypatch.setattr(DraftModel, "limit", lambda self, row_cost, tempo: self.pace.limit(0.1))


def save_model(folder, seed, tokenizer):
    save(make_model(seed), folder)
    tokenizer.save(folder)
    return folder


@pytest.mark.slow
def test_a_host_answers_with_a_draft_as_without_and_refuses_what_cannot_guess(tmp_path, cheap):
    folder = save_model(tmp_path / "model", 0, make_tokenizer())
    same = save_model(tmp_path / "same", 0, make_tokenizer())
    asked = [Message("user", "Who winds it?")], Sampling(max_tokens=24)

    def host(draft, **more):
        config = EngineConfig(num_blocks=64, draft_model=draft and str(draft), **more)
        return open_host(folder, config)

    replies = []
    for draft in (None, same):
        opened = host(draft)
        replies.append(opened.chat("tiny").reply(*asked))
        assert (opened.engine.stats().accepted_tokens > 10) == (draft is not None)
        opened.engine.close()
    assert replies[0].ids == replies[1].ids
    with pytest.raises(ConfigError, match="`draft_model` is set and `speculation` is off"):
        host(same, speculation=False)
    with pytest.raises(ConfigError, match="whose tokenizer is another than that of model/tiny@1"):
        host(save_model(tmp_path / "other", 0, word_tokenizer()))


@pytest.mark.slow
def test_a_workspace_finds_the_draft_by_its_reference_and_no_model_guesses_for_itself(tmp_path, cheap):
    asked = [Message("user", "Who winds it?")], Sampling(max_tokens=24)
    with Workspace(tmp_path) as workspace:
        for name in ("large", "small"):
            add_model(workspace, name, "llama", make_tokenizer())
        expected = workspace.chat_model("model/large").reply(*asked)
    settings = build(ServeSettings, {"engine": {"draft_model": "model/small"}})
    with Workspace(tmp_path, engine=settings.engine) as workspace:
        assert workspace.chat_model("model/large").reply(*asked).ids == expected.ids
        assert workspace.engines()["model/large@1"].stats().accepted_tokens > 0
        assert workspace.chat_model("model/small").reply(*asked).ids == expected.ids
        assert workspace.host("model/large").engine._draft is not None
        assert workspace.host("model/small").engine._draft is None
    remote = build(ServeSettings, {"engine": {"draft_model": "model/small", "isolate": True}})
    with Workspace(tmp_path, engine=remote.engine) as workspace:
        assert workspace.chat_model("model/large").reply(*asked).ids == expected.ids
        told = workspace.remote_host("model/large").engine._start.config
    assert told.draft_model == str(tmp_path / "artifacts" / "model" / "small" / "1")
