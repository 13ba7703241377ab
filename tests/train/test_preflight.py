"""What would make a run worthless is refused before its first step, and the doctor is asked."""

import json
import math

import pytest
import torch

from fakes_bpe import make_tokenizer
from fakes_corpus import add_corpus
from fakes_llama import tiny_llama
from fakes_workspace import add_model, recipe
from mainspring import artifact as artifacts
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.lora import Lora, QLora
from mainspring.adapt.prefix import Prefix
from mainspring.adapt.prompt import Prompt
from mainspring.config import changed
from mainspring.data.document import Document
from mainspring.data.shard import write_shards
from mainspring.errors import ConfigError
from mainspring.train.batch import Segment
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.preflight import ask_doctor, look
from mainspring.train.recipe import HeadConfig, Recipe, load_recipe
from mainspring.train.run import open_recipe


class Given:
    """A source of given segments, each an item."""

    fingerprint = "given"

    def __init__(self, *segments):
        self.segments, self.num_items = segments, len(segments)

    def item(self, index):
        return (self.segments[index],)


def segment(number, **more):
    values = {"ids": [3, number, 5], "weight": [0.0, 1.0, 1.0], "name": f"segment {number}"} | more
    return Segment(**values)


def test_what_was_seen_of_the_data_is_counted():
    untaught = segment(4, weight=[1.0, 0.0, 0.0])  # the first id is never learnt
    found = look(Given(segment(1), segment(2), segment(1), untaught))
    assert (found.items, found.segments, found.ids, found.trained_ids) == (4, 4, 12, 6.0)
    assert (found.longest, found.untaught, found.repeated) == (3, 1, 1)


def test_data_of_which_nothing_is_trained_are_refused_unless_they_are_labelled_or_asked():
    silent = [segment(number, weight=[0.0] * 3) for number in range(5)]
    with pytest.raises(ConfigError, match=r"Nothing is trained in any of 5 segments \(segment 0, segment 1"):
        look(Given(*silent))
    for more in ({"label": 1.0}, {"role": "query"}):
        assert look(Given(segment(1, weight=[0.0] * 3, **more))).untaught == 0


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("label", {"label": math.nan}),
        ("reward", {"reward": math.inf}),
        ("weight", {"weight": [0.0, math.nan, 1.0]}),
        ("advantage", {"extras": {"advantage": [0.0, 1.0, -math.inf]}}),
        ("teacher_logp", {"extras": {"teacher_logp": [[0.0, 1.0], [math.nan, 1.0], [0.0, 0.0]]}}),
    ],
)
def test_a_number_that_is_none_is_refused_with_its_segment(name, more):
    with pytest.raises(ConfigError, match=f"segment 2 has a {name} that is not finite"):
        look(Given(segment(1), segment(2, **more)))


def test_a_weight_that_is_none_is_refused_by_its_name(tmp_path):
    model = tiny_llama()
    with torch.no_grad():
        model.blocks[1].mixer.q.weight[2, 3] = math.nan
    with pytest.raises(
        ConfigError, match=r"blocks\.1\.mixer\.q\.weight has 1 of 4,096 numbers that are not finite"
    ):
        train(model, Given(segment(1)), Sft(), TrainConfig(), tmp_path)


def given(workspace, tmp_path, **more):
    path = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "how?"}, {"role": "assistant", "content": "so"}]
    path.write_text(json.dumps({"messages": turns}) + "\n")
    values = recipe().model_dump(mode="json") | {"data": {"kind": "chats", "dataset": str(path)}}
    return changed(Recipe, values | more, ())


LATENT, STATES, TWO_STACKS = "deepseek_v3", "mamba2", "t5"
PREFIX = Prefix().model_dump(mode="json")


@pytest.mark.parametrize(
    ("family", "transform", "message"),
    [
        (LATENT, PREFIX, "mixers of kind latent; a prefix needs attention"),
        (STATES, PREFIX, "a prefix needs attention with heads of one size"),
        (TWO_STACKS, PREFIX, "has an encoder and a decoder; an adapter of kind 'prefix'"),
        (
            TWO_STACKS,
            Prompt().model_dump(mode="json"),
            "an adapter of kind 'prompt' is made for models of one stack",
        ),
        (
            "gpt2",
            Ia3(outputs=("o",), inputs=("q",)).model_dump(mode="json"),
            "could not be saved when it is trained",
        ),
    ],
)
def test_an_adapter_that_the_model_has_no_place_for_is_refused_before_training(
    workspace, tmp_path, family, transform, message
):
    add_model(workspace, "other", family, make_tokenizer())
    with pytest.raises(ConfigError, match=message):
        open_recipe(workspace.registry, given(workspace, tmp_path, model="model/other", transform=transform))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"penalties": [{"kind": "moe_bias"}]}, "'moe_bias' moves biases .* in no adapter's file"),
        ({"model": {"model_type": "llama"}, "tokenizer": "model/smollm2"}, "would be kept nowhere"),
        ({"transform": Bottleneck().model_dump(mode="json"), "head": {"kind": "classify", "num_labels": 1}},
         "The head would come out .* is of kind 'bottleneck', which is no change of weights"),
        ({"transform": QLora(block=32).model_dump(mode="json"), "head": {"kind": "classify", "num_labels": 1}},
         "lies on weights that are kept in 4 bits"),
    ],
)  # fmt: skip
def test_what_could_not_be_kept_is_refused_before_training(workspace, tmp_path, more, message):
    if isinstance(more.get("model"), dict):
        more = more | {"model": load_recipe("pretrain", (), ["data.dataset=x"]).model}
    with pytest.raises(ConfigError, match=message):
        open_recipe(workspace.registry, given(workspace, tmp_path, **more))


def test_adapters_that_can_be_kept_are_let_through(workspace, tmp_path):
    for transform in (Lora(), Lora(dora=True, targets=("all",)), Ia3(), Prefix(num_virtual=2)):
        open_recipe(
            workspace.registry, given(workspace, tmp_path, transform=transform.model_dump(mode="json"))
        )
    head = HeadConfig(kind="classify", num_labels=1).model_dump(mode="json")
    open_recipe(
        workspace.registry, given(workspace, tmp_path, transform=Ia3().model_dump(mode="json"), head=head)
    )


def test_the_doctor_tells_the_faults_of_token_shards(registry):
    add_corpus(registry)
    said = load_recipe("pretrain", (), ["data.dataset=dataset/ids"])
    assert ask_doctor(registry, said) == []

    def fill(folder):
        write_shards([Document(id="t", text="the owner winds")], make_tokenizer(), folder / "shards")

    registry.add(artifacts.write(registry.root, "dataset", "nameless", fill))
    (found,) = ask_doctor(registry, load_recipe("pretrain", (), ["data.dataset=dataset/nameless"]))
    assert found.check == "template_mismatch"
