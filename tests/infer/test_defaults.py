"""What a plain model is sampled with where its client says nothing."""

import json

import msgspec
import pytest

from conftest import make_tokenizer
from fakes_engine import make_model, open_host
from mainspring.errors import WeightsError
from mainspring.infer.defaults import default_sampling
from mainspring.infer.request import EngineConfig
from mainspring.models.save import save
from mainspring.schema import ALL_THAT_FIT, Message, Sampling

ASK = [Message("user", "Who winds it?")]


def write(folder, **values):
    (folder / "generation_config.json").write_text(json.dumps(values))
    return folder


def test_what_the_files_leave_out_is_as_in_openais_api(tmp_path):
    assert default_sampling(tmp_path) == Sampling(temperature=1.0, max_tokens=ALL_THAT_FIT)


def test_what_the_files_say_is_taken(tmp_path):
    published = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "do_sample": True, "eos_token_id": [1, 2]}
    wanted = Sampling(temperature=0.6, top_k=20, top_p=0.95, max_tokens=ALL_THAT_FIT)
    assert default_sampling(write(tmp_path, **published, min_p=None)) == wanted


def test_a_file_that_does_not_read_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"generation_config.json does not read: .*float.*temperature"):
        default_sampling(write(tmp_path, temperature="warm"))


@pytest.fixture
def folder(tmp_path):
    save(make_model(), tmp_path / "model")
    make_tokenizer().save(tmp_path / "model")
    return write(tmp_path / "model", top_k=1)


def test_a_model_as_published_is_sampled_as_its_files_say_and_goes_on_to_its_context(folder):
    host = open_host(folder, EngineConfig(num_blocks=64))
    try:
        published, ours = host.chat("tiny", as_published=True), host.chat("tiny")
        assert published.default_sampling == Sampling(temperature=1.0, top_k=1, max_tokens=ALL_THAT_FIT)
        assert ours.default_sampling == Sampling()
        whole = published.start(ASK, Sampling(max_tokens=ALL_THAT_FIT, ignore_end=True)).wait()
        assert whole.usage.prompt_tokens + whole.usage.completion_tokens == published.context
        assert whole.finish_reason == "length"
    finally:
        host.engine.close()


@pytest.mark.parametrize(("bound", "length"), [(7, 7), (10_000, None)])
def test_the_owner_may_bound_what_a_client_does_not_and_the_context_still_holds(folder, bound, length):
    host = open_host(folder, EngineConfig(num_blocks=8, default_max_tokens=bound))
    try:
        chat = host.chat("tiny", as_published=True)
        sampling = msgspec.structs.replace(chat.default_sampling, ignore_end=True)
        usage = chat.reply(ASK, sampling).usage
        assert usage.completion_tokens == (length or chat.context - usage.prompt_tokens)
    finally:
        host.engine.close()
