import pytest

from conftest import make_tokenizer
from fakes_engine import give_adapter, make_model, open_host
from mainspring.adapt import base as adapters
from mainspring.adapt import store
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.prefix import Prefix
from mainspring.errors import ConfigError, MainspringError, WeightsError
from mainspring.infer import seats
from mainspring.infer.request import EngineConfig
from mainspring.models.save import save
from mainspring.schema import Message, Sampling

ASK = [Message("user", "Who winds it?")]


@pytest.fixture
def folder(tmp_path):
    save(make_model(), tmp_path / "model")
    make_tokenizer().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def host(folder):
    host = open_host(folder, EngineConfig(num_blocks=64))
    yield host
    host.engine.close()


def save_adapter(folder, seed):
    model = make_model()
    give_adapter(model, "trained", seed)
    store.save(model, "trained", folder)
    return folder


def test_one_engine_answers_with_and_without_adapters(host, tmp_path):
    tuned = host.chat("tuned", adapter=("adapter/one@1", save_adapter(tmp_path / "one", 1)))
    plain, sampling = host.chat("plain"), Sampling(max_tokens=12)
    before = plain.reply(ASK, sampling)
    assert tuned.reply(ASK, sampling).ids != before.ids
    assert plain.reply(ASK, sampling).ids == before.ids
    assert host.chat("again", adapter=("adapter/one@1", tmp_path / "gone")).name == "again"


def test_an_adapter_whose_products_are_not_exact_is_refused_and_taken_off(host, tmp_path, monkeypatch):
    monkeypatch.setattr(seats, "linears_agree", lambda weights, plan: False)
    with pytest.raises(MainspringError, match="adapter/one@1 has the rank 8"):
        host.chat("tuned", adapter=("adapter/one@1", save_adapter(tmp_path / "one", 1)))
    assert adapters.adapters_of(host.engine.model).configs == {}
    monkeypatch.undo()
    assert host.chat("tuned", adapter=("adapter/one@1", tmp_path / "one")).reply(ASK, Sampling(max_tokens=2))


@pytest.mark.parametrize("config", [Ia3(), Prefix(), Bottleneck()])
def test_an_adapter_that_the_engine_cannot_serve_is_refused_and_taken_off(host, tmp_path, config):
    model = make_model()
    config.apply(model, seed=0, name="trained")
    store.save(model, "trained", tmp_path / "one")
    with pytest.raises(
        ConfigError, match=f"adapter/one@1 is of kind '{config.kind}'; the engine answers with"
    ):
        host.chat("tuned", adapter=("adapter/one@1", tmp_path / "one"))
    assert adapters.adapters_of(host.engine.model).configs == {}
    assert host.chat("plain").reply(ASK, Sampling(max_tokens=2)).finish_reason


def test_an_adapter_of_other_weights_is_refused_and_the_engine_goes_on(host, tmp_path):
    other = make_model(seed=5)
    give_adapter(other, "trained", 1)
    store.save(other, "trained", tmp_path / "other")
    with pytest.raises(WeightsError, match="was trained on the base"):
        host.chat("tuned", adapter=("adapter/other@1", tmp_path / "other"))
    assert host.chat("plain").reply(ASK, Sampling(max_tokens=2)).finish_reason
