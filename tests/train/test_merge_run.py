import pytest
import torch

from fakes_bpe import make_tokenizer
from fakes_llama import tiny_llama
from fakes_workspace import lesson
from mainspring import artifact as artifacts
from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.config import build
from mainspring.data.document import Document
from mainspring.data.shard import ShardSettings, write_shards
from mainspring.errors import ConfigError, NotFoundError
from mainspring.models.load import load
from mainspring.models.save import save
from mainspring.train.merge_run import MergeConfig, merge

LESSONS = {"kind": "chats", "dataset": "dataset/lessons"}
MODELS = [{"reference": "model/a@1"}, {"reference": "model/b@1"}]
ADAPTERS = [{"reference": "adapter/a@1"}, {"reference": "adapter/b@1", "weight": 3.0}]


def add(registry, kind, name, fill, **more):
    return registry.add(artifacts.write(registry.root, kind, name, fill, **more))


@pytest.fixture
def workspace(registry):
    """Three models, two adapters of the third, and lessons."""
    import msgspec

    def model(seed):
        def fill(folder):
            save(tiny_llama(seed=seed), folder)
            make_tokenizer().save(folder)

        return fill

    def adapter(seed):
        def fill(folder):
            base = load(registry.folder(registry.get("model/c@1")))
            lora.add(base, lora.Lora(rank=2), "x", seed=seed)
            torch.manual_seed(seed)
            for pair in lora.pairs(base, "x").values():
                torch.nn.init.normal_(pair.b_OR, std=0.05)
            store.save(base, "x", folder)

        return fill

    for seed, name in enumerate("abc"):
        add(registry, "model", name, model(seed), license="MIT" if seed else "Apache-2.0")
    for seed, name in enumerate("ab"):
        add(registry, "adapter", name, adapter(seed), parents={"base": "model/c@1"})
    lessons = msgspec.json.Encoder().encode_lines([lesson(number) for number in range(5)])
    add(registry, "dataset", "lessons", lambda folder: (folder / "lessons.jsonl").write_bytes(lessons))
    return registry


def config(parents, **values):
    return build(MergeConfig, {"name": "made", "parents": parents, "data": LESSONS, **values})


def test_a_result_that_is_no_worse_is_registered_with_what_it_was_made_of(workspace):
    report = merge(workspace, config(MODELS, method={"kind": "task"}, base="model/c@1", max_worse=100.0))
    made = report.artifact
    assert made.reference == "model/made@1"
    assert made.parents == {
        "base": "model/c@1",
        "merged-1": "model/a@1",
        "merged-2": "model/b@1",
        "judged-on": "dataset/lessons@1",
    }
    assert (made.license, made.config["family"], made.config["generates"]) == (
        "Apache-2.0 AND MIT",
        "llama",
        True,
    )
    assert list(report.nll) == ["model/c@1", "model/a@1", "model/b@1", "made"]
    assert made.config["nll"] == report.nll
    assert report.worse == report.nll["made"] - min(report.nll["model/a@1"], report.nll["model/b@1"])
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(made.files)
    load(workspace.folder(workspace.get("model/made@1", verify=True)))
    assert (report.num_segments, report.num_tokens) == (5, 5 * 2)  # "7" and the end of the turn


def test_a_result_that_is_worse_leaves_nothing(workspace):
    weights = [{**each, "weight": 30.0} for each in MODELS]
    report = merge(workspace, config(weights, method={"kind": "task"}, base="model/c@1"))
    assert report.artifact is None
    assert report.worse > 0.1
    assert not workspace.has("model/made")
    assert not list(workspace.root.glob(".writing-*"))


def test_parents_that_are_one_merge_into_what_is_no_worse(workspace):
    folder = workspace.folder(workspace.get("model/a@1"))

    def fill(target):
        for path in folder.iterdir():
            if path.name != "manifest.json":
                (target / path.name).write_bytes(path.read_bytes())

    for name in ("twin", "third"):
        add(workspace, "model", name, fill)
    parents = [{"reference": f"model/{name}"} for name in ("a", "twin", "third")]
    report = merge(workspace, config(parents))
    assert report.artifact is not None
    assert abs(report.worse) < 1e-6


def test_adapters_that_add_up_become_an_adapter(workspace):
    report = merge(workspace, config(ADAPTERS, max_worse=100.0))
    assert report.artifact.reference == "adapter/made@1"
    assert report.artifact.parents["base"] == "model/c@1"
    model = load(workspace.folder(workspace.get("model/c@1")))
    store.load(model, workspace.folder(report.artifact), "made")
    assert adapters.adapters_of(model).configs["made"].rank == 4


def test_adapters_whose_products_are_elected_among_become_a_model(workspace):
    report = merge(workspace, config(ADAPTERS, method={"kind": "ties"}, max_worse=100.0))
    assert report.artifact.reference == "model/made@1"
    assert list(report.nll) == ["model/c@1", "adapter/a@1", "adapter/b@1", "made"]
    same = merge(workspace, config(ADAPTERS, method={"kind": "ties"}, max_worse=100.0))
    assert same.artifact.files == report.artifact.files


def test_a_split_of_token_shards_judges_too(workspace):
    tokenizer = make_tokenizer()
    documents = [Document(id=str(n), text=f"row {n} of the spring") for n in range(6)]

    def fill(folder):
        write_shards(documents, tokenizer, folder / "shards", ShardSettings(), "held-out")

    add(workspace, "dataset", "shards", fill)
    shards = {"kind": "documents", "dataset": "dataset/shards", "split": "held-out"}
    values = {"data": shards, "max_items": 4, "max_worse": 100.0}
    assert merge(workspace, config(MODELS, **values)).num_segments == 4
    with pytest.raises(NotFoundError, match="held-out"):
        merge(workspace, config(MODELS, **{**values, "data": {**shards, "split": "train"}}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"parents": [MODELS[0], ADAPTERS[0]]},
            "must be different models, or different adapters of one model",
        ),
        ({"parents": [MODELS[0], MODELS[0]]}, "must be different models"),
        ({"parents": MODELS, "method": {"kind": "ties"}}, "`base` is not given"),
        ({"parents": MODELS, "base": "model/c@1"}, "leave `base` out"),
        ({"parents": ADAPTERS, "base": "model/c@1"}, "adapters name their own"),
        ({"parents": MODELS, "data": {**LESSONS, "dataset": "dataset/empty"}}, "holds no lessons"),
    ],
)
def test_what_does_not_go_together_is_refused(workspace, values, message):
    add(workspace, "dataset", "empty", lambda folder: (folder / "x").write_text("x"))
    with pytest.raises((ConfigError, NotFoundError), match=message):
        merge(workspace, config(**values))


def test_adapters_of_different_bases_are_refused(workspace):
    folder = workspace.folder(workspace.get("adapter/a@1"))
    names = ("adapter_config.json", "adapter_model.safetensors")

    def fill(target):
        for name in names:
            (target / name).write_bytes((folder / name).read_bytes())

    add(workspace, "adapter", "other", fill, parents={"base": "model/a@1"})
    with pytest.raises(ConfigError, match=r"adapter/other@1 of model/a@1; only adapters of one base"):
        merge(workspace, config([ADAPTERS[0], {"reference": "adapter/other"}]))
