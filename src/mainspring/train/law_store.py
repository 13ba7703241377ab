"""The law as an artifact: its constants with the runs that they come from, and found again for a recipe.

scaling-law/<name>/<version>/   law.json      constants, refits for intervals, runs
                                scaling.png   runs and law, where matplotlib is there
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.errors import MissingExtraError
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.train.recipe import Recipe
from mainspring.train.scaling import Fit, Observation
from mainspring.train.shape import is_of_family

KIND = "scaling-law"
LAW, PLOT = "law.json", "scaling.png"


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """law.json."""

    fit: Fit
    runs: list[Observation]


def save_law(registry: Registry, recipe: Recipe, stored: Stored, *, run: str) -> Artifact:
    """Keep a law as the newest version of that of its data."""
    assert not isinstance(recipe.model, str)
    law = stored.fit.law

    def fill(folder: Path) -> None:
        (folder / LAW).write_bytes(msgspec.json.format(msgspec.json.encode(stored), indent=1))
        try:
            plot(stored.fit, stored.runs, folder / PLOT)
        except MissingExtraError as error:
            say(f"the law is kept without its plot. {error}")

    parents = recipe.data.parents(registry)
    name = registry.get(next(iter(parents.values()))).name
    config = {"law": msgspec.to_builtins(law), "model": recipe.model, "run": run}
    return registry.add(artifacts.write(registry.root, KIND, name, fill, config=config, parents=parents))


def read_law(registry: Registry, artifact: Artifact) -> Stored:
    """A law with its runs, its files checked."""
    artifacts.check(artifact, registry.folder(artifact))
    return msgspec.json.decode((registry.folder(artifact) / LAW).read_bytes(), type=Stored)


def find_law(registry: Registry, recipe: Recipe) -> tuple[Artifact, Fit] | None:
    """The newest law of models of this family on these data."""
    if isinstance(recipe.model, str):
        return None
    parents = recipe.data.parents(registry)
    for reference in reversed(registry.list(KIND)):
        found = registry.get(reference)
        if found.parents == parents and is_of_family(recipe.model, found.config["model"]):
            return found, read_law(registry, found).fit
    return None


def plot(fit: Fit, runs: Sequence[Observation], path: Path) -> None:
    """Loss over tokens, a curve a size, and measured loss over the law's, as a PNG."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "The plot of a law") from None
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    tokens = sorted(each.tokens for each in runs)
    steps = [tokens[0] * (tokens[-1] / tokens[0]) ** (at / 50) for at in range(51)]
    for number, size in enumerate(sorted({each.parameters for each in runs})):
        own = [each for each in runs if each.parameters == size]
        color = f"C{number}"
        left.plot(steps, [fit.law.loss(size, at) for at in steps], color=color, label=f"{size / 1e6:.2f}M")
        left.plot([each.tokens for each in own], [each.loss for each in own], "o", color=color)
        right.plot(
            [fit.law.loss(size, each.tokens) for each in own], [each.loss for each in own], "o", color=color
        )
    ends = [min(each.loss for each in runs), max(each.loss for each in runs)]
    right.plot(ends, ends, color="gray", linewidth=1)
    left.set(xscale="log", xlabel="tokens", ylabel="held-out loss (nats a token)")
    left.legend(fontsize=8, title="parameters")
    right.set(xlabel="the law's loss", ylabel="measured loss")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
