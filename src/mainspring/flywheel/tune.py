"""A dataset to an adapter, by the one trainer, as a run that can be killed and resumed."""

from collections.abc import Callable

import pydantic

from mainspring import artifact as artifacts
from mainspring import device
from mainspring.adapt import lora, store
from mainspring.adapt.lora import LoraConfig
from mainspring.app import CHAT_MODEL, Workspace
from mainspring.artifact import Artifact
from mainspring.config import Config, build
from mainspring.data.shard_dataset import has_shards, open_shards
from mainspring.flywheel import curate
from mainspring.models.load import load
from mainspring.progress import say
from mainspring.runs import Run
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.metrics import StepReport
from mainspring.train.objectives.sft import Sft
from mainspring.train.optim import AdamW
from mainspring.train.plan import Plan
from mainspring.train.sources.base import Source
from mainspring.train.sources.chats import ChatSource
from mainspring.train.sources.shards import ShardSource

KIND, ADAPTER = "tune", "feedback"
MAX_LESSON_TOKENS = 2048


class TuneConfig(Config):
    """How feedback is learnt."""

    model: str = pydantic.Field(default=f"model/{CHAT_MODEL}", description="The model that gets an adapter.")
    dataset: str = pydantic.Field(
        default=f"dataset/{curate.DATASET}", description="The lessons, or a dataset of token shards."
    )
    lora: LoraConfig = pydantic.Field(default=LoraConfig(), description="The shape of the adapter.")
    train: TrainConfig = pydantic.Field(
        default=TrainConfig(
            epochs=1,
            items_per_step=4,
            max_trained_tokens=20_000,
            optim=AdamW(lr=1e-3, schedule="linear"),
            plan=Plan(micro_batch_tokens=384),
        ),
        description="The run.",
    )


def tune(
    workspace: Workspace,
    config: TuneConfig,
    *,
    resume: str | None = None,
    accept: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> tuple[Artifact, Run]:
    """Train an adapter, from the start or from where a killed run stopped.

    Args:
        workspace: where dataset and model are, and where the adapter goes.
        config: of a new run; a resumed one keeps its own.
        resume: the id of the run to go on with.
        accept: resume although data, code or machine are not the same.
        on_step: called after every step.

    """
    if resume is None:
        exact = {
            "model": workspace.registry.get(config.model).reference,
            "dataset": workspace.registry.get(config.dataset).reference,
        }
        run = workspace.runs.start(KIND, config.model_copy(update=exact).model_dump(mode="json"))
    else:
        run = workspace.runs.resume(resume)
    try:
        adapter = _train(workspace, build(TuneConfig, run.config), run, accept=accept, on_step=on_step)
        device.release_memory()
    except BaseException as error:
        workspace.runs.end(run.id, "failed", {"error": f"{type(error).__name__}: {error}"})
        raise
    return adapter, workspace.runs.end(run.id, "done", {"adapter": adapter.reference})


def _train(
    workspace: Workspace,
    config: TuneConfig,
    run: Run,
    *,
    accept: bool,
    on_step: Callable[[StepReport], None] | None,
) -> Artifact:
    registry = workspace.registry
    base = registry.get(config.model, verify=True)
    dataset = registry.get(config.dataset)
    model = load(registry.folder(base)).requires_grad_(False)
    tokenizer = Tokenizer.load(registry.folder(base))
    source = _source(workspace, dataset, tokenizer, model.config.vocab_size)
    lora.add(model, config.lora, ADAPTER, seed=config.train.seed)
    say(f"run {run.id}; if it is stopped, `mainspring train --resume {run.id}` goes on with it")
    result = train(
        model, source, Sft(), config.train, workspace.runs.folder(run.id), on_step=on_step, accept=accept
    )
    facts = {
        "base_fingerprint": lora.base_fingerprint(model),
        "run": run.id,
        "steps": result.steps,
        "trained_tokens": result.trained_tokens,
        "lora": config.lora.model_dump(mode="json"),
    }
    return registry.add(
        artifacts.write(
            registry.root,
            "adapter",
            ADAPTER,
            lambda folder: store.save(model, ADAPTER, folder),
            config=facts,
            parents={"base": base.reference, "dataset": dataset.reference},
            license=base.license,
        )
    )


def _source(workspace: Workspace, dataset: Artifact, tokenizer: Tokenizer, vocab_size: int) -> Source:
    """Lessons, or the token shards of any documents."""
    if not has_shards(workspace.registry, dataset):
        conversations = [lesson.messages for lesson in curate.read(workspace, dataset)]
        return ChatSource(conversations, tokenizer, max_tokens=MAX_LESSON_TOKENS)
    artifacts.check(dataset, workspace.registry.folder(dataset))
    shards = open_shards(workspace.registry, dataset)
    shards.check_tokenizer(tokenizer.fingerprint, "the model to train")
    shards.check_vocab(vocab_size, "the model to train")
    return ShardSource(shards, max_tokens=MAX_LESSON_TOKENS)
