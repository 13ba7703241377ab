"""What would make a run worthless, found before its first step: in the recipe, the data, the weights, what is kept.

settings                -> what has nothing to act on
items, a sample of them -> nothing is trained, numbers that are not finite, the same twice
weights                 -> numbers that are not finite
transform               -> an adapter that could not be saved or merged at the end
dataset                 -> the data doctor's faults, which are told and do not refuse
"""

from collections.abc import Iterator
from itertools import islice

import msgspec

from mainspring.adapt import store
from mainspring.adapt.bake import check_bakes
from mainspring.adapt.base import Adapter
from mainspring.data.doctor.base import Fault
from mainspring.data.doctor.examine import examine
from mainspring.data.doctor.view import open_view
from mainspring.data.shard_dataset import has_shards
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.registry import Registry
from mainspring.train.batch import Item, Segment
from mainspring.train.config import TrainConfig
from mainspring.train.feed import Feed
from mainspring.train.finite import check_numbers
from mainspring.train.guard import StopConfig
from mainspring.train.objectives.base import Regulator
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.recipe import Recipe
from mainspring.train.sources.base import Source
from mainspring.train.sources.prompts import Prompt, PromptRecords
from mainspring.train.sources.rows import Rows
from mainspring.train.sources.texts import Labelled, Ranked, Triples

MAX_ITEMS, MAX_SHOWN = 1000, 3
TEACHES = ("", "chosen", "rejected", "answer")  # roles of segments whose tokens are what is learnt
UNWEIGHTED = (PromptRecords, Labelled, Triples, Ranked)  # sources of whose tokens none is to be said


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """Of the items that were looked at: how many, and their segments, ids and trained ids.

    `untaught`: segments of which nothing is trained. `repeated`: items that stood there before.
    """

    items: int
    segments: int
    ids: int
    trained_ids: float
    longest: int
    untaught: int
    repeated: int


def look(data: Source | Feed) -> Looked:
    """Look at up to a thousand items of what a run learns from.

    Raises:
        ConfigError: nothing of them is trained, or a number among them is not finite; the segment is named.

    """
    seen: set[int] = set()
    segments: list[Segment] = []
    untaught: list[str] = []
    count = repeated = 0
    for item in _sample(data):
        count += 1
        key = hash(tuple((tuple(each.ids), each.role) for each in item))
        repeated += key in seen
        seen.add(key)
        for segment in item:
            check_numbers(segment)
            segments.append(segment)
            untaught += [segment.name] if _is_untaught(segment) else []
    if segments and len(untaught) == len(segments):
        shown = ", ".join(untaught[:MAX_SHOWN])
        raise ConfigError(
            f"Nothing is trained in any of {len(segments):,} segments ({shown}, ...): all weights are 0. See them "
            "with `mainspring data peek --tokens`; answers must have the role 'assistant' and a text."
        )
    return Looked(
        items=count, segments=len(segments), ids=sum(each.num_tokens for each in segments),
        trained_ids=sum(each.trained_tokens for each in segments),
        longest=max((each.num_tokens for each in segments), default=0), untaught=len(untaught), repeated=repeated,
    )  # fmt: skip


def check_settings(recipe: Recipe) -> None:
    """See that what a recipe sets has something to act on, before anything is opened.

    Raises:
        ConfigError: validation of what has no loss; settings of a validation, of a limit or of an estimate where there
            is none; two lengths of the run.

    """
    _check_validation(recipe)
    _check_epochs(recipe)
    kind = recipe.data.kind
    is_packed, is_unweighted = isinstance(recipe.data, Rows), isinstance(recipe.data, UNWEIGHTED)
    if recipe.train.max_trained_tokens and (is_packed or is_unweighted or recipe.rollout is not None):
        why = "are counted by steps" if is_packed else "have no tokens with weights to count"
        raise ConfigError(
            f"`train.max_trained_tokens` is {recipe.train.max_trained_tokens:,}, but data of kind '{kind}' {why}. Set "
            "it to 0 and say by `train.steps` or `train.epochs` how long the run is."
        )
    if recipe.fisher is not None and (is_packed or is_unweighted):
        raise ConfigError(
            f"`fisher` asks of items how much each weight matters for their tokens, but data of kind '{kind}' "
            f"{'are packed rows, not items' if is_packed else 'have no tokens that are learnt'}. Leave it out, or "
            "set `data.kind` to one with items whose tokens are learnt, such as documents."
        )


def without_validation(train: TrainConfig) -> TrainConfig:
    """The settings of a run that looks at nothing without learning."""
    return train.model_copy(update={"validate_every_steps": 0, "restore_best": False, "stop": StopConfig()})


def _check_epochs(recipe: Recipe) -> None:
    """See that the passes over the data, where they are said, are what ends the run."""
    mix_total = recipe.data.mix.total if isinstance(recipe.data, Rows) else 0
    others = {"train.steps": recipe.train.steps, "data.mix.total": mix_total}
    longer = [f"`{name}` {value:,}" for name, value in others.items() if value]
    if longer and recipe.train.epochs != TrainConfig().epochs:
        raise ConfigError(
            f"`train.epochs` is {recipe.train.epochs} and {' and '.join(longer)}; one of them says how long the run "
            "is. Leave the other out."
        )


def _check_validation(recipe: Recipe) -> None:
    if recipe.rollout is not None and recipe.validation_fraction:
        raise ConfigError(
            f"`validation_fraction` is {recipe.validation_fraction}, but with `rollout` the data are prompts, which "
            "have no loss before they are answered. Set it to 0, and compare the result with its base by "
            "`mainspring eval`."
        )
    if isinstance(recipe.objective, PolicyGradient) and recipe.validation is not None:
        raise ConfigError(
            "`validation` is set, but the objective 'policy' has a loss of sampled answers with rewards alone. Leave "
            "it out, and compare the result with its base by `mainspring eval`."
        )
    if recipe.validation is not None or recipe.validation_fraction:
        return
    train = recipe.train
    said = {
        "validate_every_steps": train.validate_every_steps, "restore_best": train.restore_best,
        "stop.patience": train.stop.patience,
    }  # fmt: skip
    vain = [f"`train.{name}` is {value}" for name, value in said.items() if value]
    if vain:
        raise ConfigError(
            f"{' and '.join(vain)}, but the recipe holds nothing out to look at. Set `validation` or "
            "`validation_fraction`, or leave out what needs them."
        )


def ask_doctor(registry: Registry, recipe: Recipe) -> list[Fault]:
    """The faults of the datasets of documents or token shards that a recipe learns from."""
    model = recipe.model if isinstance(recipe.model, str) else recipe.tokenizer
    found: list[Fault] = []
    for reference in recipe.data.parents(registry).values():
        dataset = registry.get(reference)
        if dataset.kind == "dataset" and has_shards(registry, dataset):
            found += examine(open_view(registry, dataset, model=model))
    return found


def check_kept(model: Model, recipe: Recipe) -> None:
    """See that what comes out of a run can be kept.

    Raises:
        ConfigError: an adapter that cannot be saved or, beside a new head, merged; one of a base that is nowhere;
            biases of routers that would be lost.

    """
    transform = recipe.transform
    if not isinstance(transform, Adapter):
        return
    if recipe.head is not None:
        check_bakes(transform, "The head would come out with the model's weights, but the adapter")
        return
    if not isinstance(recipe.model, str):
        raise ConfigError(
            f"`model` is new, so the base of an adapter of kind '{transform.kind}' would be kept nowhere. Train it "
            "first, with `transform.kind=full`, or name a model of the registry."
        )
    moved = [each.kind for each in recipe.penalties if isinstance(each, Regulator)]
    if moved:
        raise ConfigError(
            f"'{moved[0]}' moves biases of the base's routers, which are in no adapter's file. Take the loss "
            "'moe_balance' instead, or train with `transform.kind=full`."
        )
    try:
        store.check(model, recipe.name)
    except ConfigError as error:
        raise ConfigError(f"The adapter could not be saved when it is trained: {error}") from error


def _sample(data: Source | Feed) -> Iterator[Item]:
    """Items evenly spread over a source, or the first ones of a feed."""
    if isinstance(data, Feed):
        yield from islice((item for step in data.steps({}) for item in step.items), MAX_ITEMS)
        return
    stride = max(1, data.num_items // MAX_ITEMS)
    for index in range(0, data.num_items, stride):
        yield data.item(index)


def _is_untaught(segment: Segment) -> bool:
    if isinstance(segment, Prompt) or segment.label is not None or segment.role not in TEACHES:
        return False
    return not segment.trained_tokens
