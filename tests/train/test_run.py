"""A dataset to an adapter, whatever becomes of the process."""

import pytest

from fakes_bpe import CHATML, make_tokenizer
from fakes_workspace import lesson, other_process, pipe, recipe, tune, tune_slowly
from mainspring import artifact as artifacts
from mainspring.adapt import base as adapters
from mainspring.adapt import store
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.prefix import Prefix
from mainspring.adapt.prompt import Prompt
from mainspring.data.document import Document
from mainspring.data.shard import write_shards
from mainspring.errors import ChecksumError, ConfigError
from mainspring.flywheel import curate
from mainspring.models.load import load
from mainspring.train.sources.shards import Documents

pytestmark = pytest.mark.slow

FIRST_STEPS = 3


@pytest.fixture
def dataset(workspace):
    return curate.save(workspace, [lesson(number) for number in range(6)], [])


def test_an_adapter_names_what_it_was_made_of(workspace, dataset):
    adapter, run = tune(workspace, recipe())
    base = workspace.registry.get("model/smollm2")
    assert adapter.parents == {"base": base.reference, "dataset": dataset.reference}
    fingerprint = adapters.base_fingerprint(load(workspace.registry.folder(base)))
    assert (adapter.config["base_fingerprint"], adapter.config["run"]) == (fingerprint, run.id)
    assert (run.status, run.result) == ("done", {"adapter": adapter.reference})
    assert (adapter.config["steps"], run.config["data"]["dataset"]) == (6, dataset.reference)
    assert set(adapter.files) == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_run_that_fails_is_recorded_with_why(workspace, dataset):
    file = workspace.registry.folder(dataset) / curate.LESSONS
    file.write_text(file.read_text().replace('"7"', '"8"'))
    with pytest.raises(ChecksumError):
        tune(workspace, recipe())
    (run,) = workspace.runs.list("train")
    assert run.status == "failed"
    assert run.result["error"].startswith("ChecksumError: ")
    assert workspace.registry.list("adapter") == []


def test_a_failed_run_goes_on_with_its_own_settings(workspace, dataset):
    def stop(report):
        if report.step == FIRST_STEPS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(workspace, recipe(), on_step=stop)
    (stopped,) = workspace.runs.list("train")
    later = []
    curate.save(workspace, [lesson(9)], [])  # a newer dataset is not this run's
    adapter, run = tune(workspace, recipe(epochs=9), resume=stopped.id, on_step=later.append)
    assert (run.id, run.status, adapter.parents["dataset"]) == (stopped.id, "done", dataset.reference)
    assert [report.step for report in later] == [3, 4, 5, 6]  # the last saved state was step 2's


@pytest.mark.parametrize(
    "transform", [Ia3(), Bottleneck(width=8), Prefix(net_width=16), Prompt()], ids=lambda each: each.kind
)
def test_every_kind_of_adapter_is_trained_and_loads_again(workspace, dataset, transform):
    config = recipe(epochs=1).model_copy(update={"transform": transform})
    losses = []
    adapter, _ = tune(workspace, config, on_step=lambda report: losses.append(report.loss))
    assert losses[-1] != losses[0]
    model = load(workspace.registry.folder(workspace.registry.get("model/smollm2")))
    store.load(model, workspace.registry.folder(adapter), "again")
    assert adapters.adapters_of(model).configs["again"].kind == transform.kind


def add_shards(workspace, tokenizer):
    """A dataset of the shards of ten texts."""
    registry = workspace.registry
    texts = [Document(id=f"t{number}", text=f"the owner winds {number} springs") for number in range(10)]

    def fill(folder):
        write_shards(texts, tokenizer, folder / "shards")

    return registry.add(artifacts.write(registry.root, "dataset", "springs-tokens", fill))


def test_an_adapter_is_trained_on_token_shards(workspace):
    dataset = add_shards(workspace, make_tokenizer())
    config = recipe(epochs=3).model_copy(update={"data": Documents(dataset=dataset.reference)})
    losses = []
    adapter, _ = tune(workspace, config, on_step=lambda report: losses.append(report.loss))
    assert adapter.parents["dataset"] == dataset.reference
    assert len(losses) == 3 * 5
    assert losses[-1] < losses[0]


def test_shards_of_another_tokenizer_than_the_models_are_refused(workspace):
    dataset = add_shards(workspace, make_tokenizer(CHATML + " "))
    config = recipe().model_copy(update={"data": Documents(dataset=dataset.reference)})
    with pytest.raises(ConfigError, match="to which their ids mean other text"):
        tune(workspace, config)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_adapter_of_one_that_was_not_killed(workspace, dataset):
    config = recipe(epochs=4)
    with pipe() as (steps, tell):
        process = other_process(tune_slowly, workspace.root, config, tell)
        for wanted in range(1, FIRST_STEPS + 1):
            assert steps.poll(60)
            assert steps.recv() == wanted
        (running,) = workspace.runs.list("train")
        assert (running.status, running.pid) == ("running", process.pid)
        process.kill()
        process.join()
    (killed,) = workspace.runs.list("train")
    assert killed.status == "killed"
    assert workspace.registry.list("adapter") == []
    resumed, run = tune(workspace, config, resume=killed.id)
    assert run.status == "done"
    whole, _ = tune(workspace, config)
    assert whole.reference != resumed.reference
    assert whole.files == resumed.files
    assert whole.config["steps"] == resumed.config["steps"] == 12
