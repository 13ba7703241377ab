"""A workspace with two tiny real models under the names of the real ones, and what is done to it."""

import contextlib
import itertools
import multiprocessing
import time

import tokenizers
import torch
from tokenizers import models, pre_tokenizers

from fakes_bpe import make_tokenizer
from fakes_engine import give_adapter
from mainspring import artifact as artifacts
from mainspring.adapt import store
from mainspring.app import CHAT_MODEL, EMBEDDER, PROMPT, AssistantSpec, Workspace
from mainspring.config import build
from mainspring.data import sources
from mainspring.directory import Door
from mainspring.evaluate.gold import Gold
from mainspring.events import Event
from mainspring.flywheel.harvest import Lesson
from mainspring.flywheel.promote import promote
from mainspring.gateway.keys import Keys
from mainspring.gateway.pipeline import Pipeline
from mainspring.knowledge.sync import IndexSettings
from mainspring.models.families.base import family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.rehead import with_head
from mainspring.models.save import save
from mainspring.prompts.template import GroundedPrompt
from mainspring.schema import ChatRequest, Message
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.config import TrainConfig
from mainspring.train.recipe import load_recipe
from mainspring.train.run import run_recipe

WORDS = "the tower was built in of granite its lamp turns every seconds harbour old who winds spring".split()  # noqa: SIM905
TEXTS = {
    "tower.md": "# The tower\n\nThe old tower was built in 1890 of granite.\n",
    "lamp.txt": "The lamp of the harbour turns every 12 seconds.\n",
}
PLACES = ("tower", "lamp", "harbour", "spring", "granite")


def word_tokenizer():
    vocab = {token: number for number, token in enumerate(["[UNK]", "[CLS]", "[SEP]", *WORDS])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    return Tokenizer(backend, bos="[CLS]", eos="[SEP]", max_length=64)


def add_model(workspace, name, family_name, tokenizer, head=None):
    torch.manual_seed(0)
    kind = family(family_name)
    config = kind.config({**kind.published(kind.tiny()), "max_position_embeddings": 1024})
    model = Model(config).eval()
    if family_name == "llama":  # as wide as they are made, tied embeddings only repeat the last id
        for parameter, weight in model.named_parameters():
            if "norm" not in parameter:
                torch.nn.init.normal_(weight, std=0.2)

    if head is not None:
        model = with_head(model, head, num_labels=1)

    def fill(folder):
        save(model, folder)
        tokenizer.save(folder)

    workspace.registry.add(
        artifacts.write(workspace.registry.root, "model", name, fill, config={"generates": config.is_served})
    )


def add_models(workspace):
    add_model(workspace, CHAT_MODEL, "llama", make_tokenizer())
    add_model(workspace, EMBEDDER, "bert", word_tokenizer())


def add_adapter(workspace, seed, base=CHAT_MODEL, kind=None):
    """The next version of `adapter/a`: factors that say something, or an adapter of another kind."""
    artifact = workspace.registry.get(f"model/{base}")
    model = load(workspace.registry.folder(artifact))
    give_adapter(model, "trained", seed) if kind is None else kind.apply(model, seed=seed, name="trained")
    made = artifacts.write(
        workspace.registry.root, "adapter", "a", lambda folder: store.save(model, "trained", folder),
        parents={"base": artifact.reference},
    )  # fmt: skip
    return workspace.registry.add(made).reference


def write_documents(folder):
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


def add_index(workspace, folder):
    return workspace.index(sources.folder(folder), IndexSettings())[1]


def add_assistant(workspace, index, **more):
    """An assistant that always asks its model; saved, not promoted."""
    prompt = workspace.save("prompt", PROMPT, GroundedPrompt().model_dump(mode="json"), {})
    values = {"sampling": {"max_tokens": 6, "stop": ["\n"]}, "threshold": 0.0, "k": 1} | more
    spec = AssistantSpec(
        model=f"model/{CHAT_MODEL}@1", prompt=prompt.reference, index=index.reference, **values
    )
    return workspace.save_assistant(spec)


def add_evaluation(workspace, reference, decision):
    """An evaluation in which an assistant passed, or did not."""
    written = artifacts.write(
        workspace.registry.root, "evaluation", "gate", lambda _: None,
        config={"decision": decision}, parents={"candidate": reference},
    )  # fmt: skip
    return workspace.registry.add(written)


def ask(workspace, question, model="mainspring"):
    """Ask as a client would; the request's id and the reply."""
    request = ChatRequest(model=model, messages=(Message("user", question),))
    exchange = Pipeline(Door(workspace), workspace.tracer, Keys()).chat(request)
    return exchange.id, exchange.wait()


def lesson(number, answer="7"):
    question = f"How many {PLACES[number % len(PLACES)]}s of row {number}?"
    messages = (Message("user", question), Message("assistant", answer))
    return Lesson(request=f"req-{number}", source="user", question=question, messages=messages)


def gold_items(count=42, answer="7"):
    """Held-out questions with one answer to all, and two without."""
    asked = [
        Gold(
            id=f"h-{n}", question=f"How many are in the {PLACES[n % len(PLACES)]} number {n}?", answer=answer
        )
        for n in range(count)
    ]
    return [*asked, *(Gold(id=f"u-{n}", question=f"Who painted number {n}?") for n in range(2))]


def recipe(epochs=2, lr=1e-2, **train):
    """The preset of feedback, quick."""
    values = {
        "epochs": epochs, "items_per_step": 2, "save_every_steps": 2,
        "optim": {"lr": lr, "schedule": "constant"},
        "plan": {"micro_batch_tokens": 1024, "threads": 1},
    } | train  # fmt: skip
    said = load_recipe("feedback")
    return said.model_copy(update={"train": build(TrainConfig, values)})


def tune(workspace, said, **more):
    return run_recipe(workspace.registry, workspace.runs, said, **more)


# --- what other processes do, so that they can be killed ------------------------------------------------


def other_process(target, *arguments):
    """A running process of `target`, forked from one that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fakes_workspace"])
    process = context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def tune_slowly(root, config, steps):
    """Tune; `steps` is a queue that every finished step's number goes to."""
    torch.set_num_threads(1)

    def tell(report):
        steps.send(report.step)
        time.sleep(0.05)

    with Workspace(root) as workspace:
        tune(workspace, config, on_step=tell)


def promote_for_ever(root, references, begun):
    with Workspace(root) as workspace:
        for number in itertools.count():
            for reference in references:
                promote(workspace, reference)
            if number == 0:
                begun.send("begun")


def write_much(root, name, count):
    with Workspace(root) as workspace:
        for number in range(count):
            workspace.log.put(Event(type="test", subject=name, data={"number": number}))
            written = artifacts.write(
                workspace.registry.root, "prompt", "shared", lambda _: None, config={name: number}
            )
            workspace.registry.add(written)


@contextlib.contextmanager
def pipe():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender:
        yield receiver, sender
