"""Merging with evaluation before acceptance: the result is registered if it is no worse than the best parent.

parents -> merged, in a scratch folder -> mean NLL of each and of the merged -> registered, or thrown away
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mainspring import artifact as artifacts
from mainspring.adapt import base as adapters
from mainspring.adapt import store
from mainspring.adapt.merge import Linear, MergeMethod
from mainspring.adapt.merge.adapters import add_concatenated, write_merged
from mainspring.adapt.merge.models import merge_models
from mainspring.artifact import Artifact
from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.models.convert import Dtype
from mainspring.models.load import load, read_config
from mainspring.models.model import Model
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import Segment
from mainspring.train.sources.base import Opening, Source, order
from mainspring.train.sources.chats import Chats
from mainspring.train.sources.shards import Documents, Windows
from mainspring.train.teacher import answer_nll

MAX_TOKENS = 2048
ROUNDING = 1e-6
"""Nats by which the sums of equal weights may differ, and by which nothing is refused."""

Judges = Annotated[Chats | Documents | Windows, Field(discriminator="kind")]


class Parent(Config):
    """One of the models or adapters to merge."""

    reference: str = Field(description="model/NAME@VERSION or adapter/NAME@VERSION")
    weight: float = Field(
        default=1.0, description="how much of it the result has; what that means says the method"
    )


class MergeConfig(Config):
    """What is merged, how, and on what it is judged."""

    name: str = Field(pattern=r"^[\w.-]+$", description="of the model or adapter that is made")
    parents: tuple[Parent, ...] = Field(
        min_length=2, description="models of one architecture, or adapters of one base"
    )
    base: str | None = Field(
        default=None, description="the model that the parents were trained from, for methods that need it"
    )
    method: MergeMethod = Field(default=Linear(), description="how the weights become one")
    data: Judges = Field(description="what to judge on: lessons or token shards that no parent has learnt")
    max_items: int = Field(default=500, ge=1, description="of the data, a random choice of so many at most")
    max_worse: float = Field(
        default=0.0, ge=0, description="nats a token by which the result may be worse than the best parent"
    )
    dtype: Dtype = Field(default="float32", description="of a merged model's weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """`nll` has the mean of base, parents and result in nats a trained token; a refused result has no artifact."""

    artifact: Artifact | None
    nll: Mapping[str, float]
    best: str
    worse: float
    num_segments: int
    num_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What merging gave, in a scratch folder."""

    kind: artifacts.Kind
    parents: dict[str, str]
    nll: dict[str, float]
    segments: Sequence[Segment]


def merge(registry: Registry, config: MergeConfig) -> MergeReport:
    """Merge, judge, and register what is not worse than the best parent by more than `max_worse`.

    Raises:
        ConfigError: parents, base or method that do not go together.
        WeightsError: parents whose weights do not mean the same things.
        NotFoundError: no such artifact.

    """
    parents = [registry.get(each.reference, verify=True) for each in config.parents]
    kinds = {each.kind for each in parents}
    if len({each.reference for each in parents}) < len(parents) or kinds not in ({"model"}, {"adapter"}):
        raise ConfigError(
            f"`parents` are {', '.join(each.reference for each in parents)}; they must be different models, or "
            "different adapters of one model."
        )
    with artifacts.temporary_folder(registry.root) as scratch:
        make = _merge_models if kinds == {"model"} else _merge_adapters
        made = make(registry, config, parents, scratch)
        said = made.nll[config.name]
        best = min((each.reference for each in parents), key=made.nll.__getitem__)
        worse = said - made.nll[best]
        is_accepted = worse <= config.max_worse + ROUNDING  # a result that is not a number is not
        return MergeReport(
            artifact=_register(registry, config, parents, made, scratch) if is_accepted else None,
            nll=made.nll, best=best, worse=worse, num_segments=len(made.segments),
            num_tokens=sum(each.trained_tokens for each in made.segments),
        )  # fmt: skip


def _merge_models(
    registry: Registry, config: MergeConfig, parents: Sequence[Artifact], scratch: Path
) -> _Made:
    base = None if config.base is None else registry.get(config.base, verify=True)
    folders = {each.reference: registry.folder(each) for each in parents}
    weights = [each.weight for each in config.parents]
    start = None if base is None else registry.folder(base)
    say(f"merging {', '.join(folders)} by {config.method.kind}")
    merge_models(folders, weights, start, config.method, scratch, dtype=config.dtype)
    segments = _segments(registry, config, registry.folder(parents[0]))
    judged = ({} if base is None else {base.reference: registry.folder(base)}) | folders
    nll = {name: _nll(load(folder), segments, name) for name, folder in judged.items()}
    nll[config.name] = _nll(load(scratch), segments, "the result")
    return _Made(kind="model", parents=_roles(base, parents), nll=nll, segments=segments)


def _merge_adapters(
    registry: Registry, config: MergeConfig, parents: Sequence[Artifact], scratch: Path
) -> _Made:
    base = _base_of(registry, config, parents)
    model = load(registry.folder(base)).requires_grad_(False)
    names = [each.reference for each in parents]
    weights = [each.weight for each in config.parents]
    for each in parents:
        store.load(model, registry.folder(each), each.reference)
    segments = _segments(registry, config, registry.folder(base))
    nll: dict[str, float] = {}
    for name in (None, *names):
        adapters.activate(model, name)
        nll[name or base.reference] = _nll(model, segments, name or base.reference)
    config.method.check(weights)
    factors = config.method.factors(weights)
    say(f"merging {', '.join(names)} by {config.method.kind}")
    if factors is None:
        folder = registry.folder(base)
        write_merged(model, folder, names, weights, config.method, folder=scratch, dtype=config.dtype)
        model = load(scratch)
    else:
        add_concatenated(model, names, factors, config.name)
        store.save(model, config.name, scratch)
        adapters.activate(model, config.name)
    nll[config.name] = _nll(model, segments, "the result")
    kind: artifacts.Kind = "model" if factors is None else "adapter"
    return _Made(kind=kind, parents=_roles(base, parents), nll=nll, segments=segments)


def _base_of(registry: Registry, config: MergeConfig, parents: Sequence[Artifact]) -> Artifact:
    bases = {each.parents.get("base", "") for each in parents}
    if len(bases) != 1 or "" in bases:
        named = ", ".join(f"{each.reference} of {each.parents.get('base', 'none')}" for each in parents)
        raise ConfigError(f"The adapters are {named}; only adapters of one base can be merged.")
    if config.base is not None:
        raise ConfigError("`base` is for models; adapters name their own. Leave it out.")
    return registry.get(bases.pop(), verify=True)


def _roles(base: Artifact | None, parents: Sequence[Artifact]) -> dict[str, str]:
    numbered = {f"merged-{number}": each.reference for number, each in enumerate(parents, start=1)}
    return numbered if base is None else {"base": base.reference, **numbered}


def _segments(registry: Registry, config: MergeConfig, folder: Path) -> list[Segment]:
    """What to judge on, as the model of a folder sees it."""
    built = read_config(folder)
    opening = Opening(
        registry=registry,
        tokenizer=Tokenizer.load(folder),
        model=built,
        max_tokens=min(MAX_TOKENS, built.context),
    )
    source: Source = config.data.open(opening)
    indices = sorted(order(source.num_items, 0, 0)[: config.max_items])
    segments = [segment for index in indices for segment in source.item(index) if segment.trained_tokens]
    if not segments:
        raise ConfigError(
            f"In {config.data.dataset} nothing is trained, so it judges nothing. Name another `data.dataset`."
        )
    return segments


def _nll(model: Model, segments: Sequence[Segment], name: str) -> float:
    means = answer_nll(model, segments)
    tokens = [each.trained_tokens for each in segments]
    mean = sum(nll * count for nll, count in zip(means, tokens, strict=True)) / sum(tokens)
    say(f"{name}: {mean:.4f} nats a token")
    return mean


def _register(
    registry: Registry, config: MergeConfig, parents: Sequence[Artifact], made: _Made, scratch: Path
) -> Artifact:
    def fill(folder: Path) -> None:
        for path in sorted(scratch.iterdir()):
            shutil.move(path, folder / path.name)

    dataset = config.data.parents(registry).get("dataset")  # a file has no artifact
    judged = {"judged-on": dataset} if dataset else {}
    values = {"merge": config.model_dump(mode="json"), "nll": made.nll}
    if made.kind == "model":
        built = read_config(scratch)
        values |= {"family": built.family, "generates": built.is_served, "context": built.context}
    written = artifacts.write(
        registry.root, made.kind, config.name, fill, config=values, parents=made.parents | judged,
        license=" AND ".join(sorted({each.license for each in parents if each.license})),
        card=f"Merged by {config.method.kind} of {', '.join(each.reference for each in parents)}.",
    )  # fmt: skip
    return registry.add(written)
