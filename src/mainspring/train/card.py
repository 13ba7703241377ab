"""A model card written from the facts of a run alone: what it came from, how it was made, what that limits.

Nothing in it is praise or a guess; what is not known is said to be unknown.
"""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mainspring import device
from mainspring.artifact import Artifact
from mainspring.registry import Registry
from mainspring.train.history import Outcome, read
from mainspring.train.recipe import Recipe

NAME = "card.md"
PARTS = ("data", "validation", "head", "rollout", "objective", "transform")
SOFTWARE = ("mainspring", "torch", "safetensors", "tokenizers", "numpy")
TOKENS_PER_PARAMETER = 20  # arXiv:2203.15556, table 3: about so many where compute is spent best
MAX_PASSES = 4  # arXiv:2305.16264: up to about four passes over the same data are nearly as good as new data
SHORT = 16  # letters of a fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a card is written from.

    base_fingerprint: of the frozen or first weights. parents: artifacts by role. parameters, trained_parameters: how
    many weights there are, and how many of them trained. num_items: of the data, None where it is not known.
    """

    kind: str
    recipe: Recipe
    run: str
    parents: Mapping[str, str]
    license: str
    base_fingerprint: str
    parameters: int
    trained_parameters: int
    context: int


def write_card(registry: Registry, facts: Facts, folder: Path) -> str:
    """The card of what a run made, also as card.md in the folder of the run."""
    parents = {role: registry.get(reference) for role, reference in facts.parents.items()}
    outcome = read(folder).outcome()
    text = "\n".join([_head(facts, parents), _how(facts), _came_to(outcome), _limits(facts, outcome)])
    (folder / NAME).write_text(text, encoding="utf-8")
    return text


def _head(facts: Facts, parents: Mapping[str, Artifact]) -> str:
    recipe = facts.recipe
    of = (
        recipe.model
        if isinstance(recipe.model, str)
        else f"a new {recipe.model.get('model_type', '')} model of random weights"
    )
    trained = f"{facts.trained_parameters:,} of {facts.parameters:,} parameters trained"
    rows = {"trained from": of, "base weights": f"`{facts.base_fingerprint[:SHORT]}`", "size": trained}
    rows |= {role: f"{each.reference} `{each.fingerprint[:SHORT]}`" for role, each in parents.items()}
    rows |= {"licence": facts.license or "unknown", "run": facts.run}
    return f"# {facts.kind}/{recipe.name}\n\n{_table(rows)}"


def _how(facts: Facts) -> str:
    recipe = facts.recipe
    train = recipe.train.model_dump(mode="json", exclude={"optim", "plan"})
    parts = {name: getattr(recipe, name) for name in PARTS}
    rows: dict[str, Any] = {
        name: _settings(part.model_dump(mode="json")) for name, part in parts.items() if part is not None
    }
    rows |= {f"penalty {each.kind}": _settings(each.model_dump(mode="json")) for each in recipe.penalties}
    rows["segments"] = f"at most {min(recipe.max_tokens, facts.context):,} tokens"
    rows["training"] = _settings(train)
    rows["optimizer"] = _settings(recipe.train.optim.model_dump(mode="json"))
    rows["plan"] = _settings(recipe.train.plan.model_dump(mode="json"))
    rows["machine"] = device.describe()
    rows["software"] = f"Python {platform.python_version()}, {', '.join(map(_version, SOFTWARE))}"
    return f"## How it was made\n\n{_table(rows)}"


def _came_to(outcome: Outcome | None) -> str:
    if outcome is None:
        return "## What it came to\n\nNo step was trained.\n"
    rows = {
        "steps": f"{outcome.steps:,}, of which {outcome.skipped:,} were skipped",
        "tokens": f"{outcome.tokens:,}, of which {outcome.trained_tokens:,.0f} were learnt",
        "loss of the last step": f"{outcome.loss:.4f}",
        "lowest loss of a step": f"{outcome.min_loss:.4f}, of step {outcome.min_loss_step:,}",
        "time of the steps": f"{outcome.seconds:,.1f} s, {outcome.tokens_per_s:,.0f} tokens per second",
    }
    if outcome.valid_loss is not None:
        rows["loss held out, last"] = f"{outcome.valid_loss:.4f}"
        rows["loss held out, best"] = f"{outcome.best_valid_loss:.4f}, after step {outcome.best_valid_step:,}"
    return f"## What it came to\n\n{_table(rows)}"


def _limits(facts: Facts, outcome: Outcome | None) -> str:
    found = [*_limits_of_facts(facts), *(_limits_of_outcome(facts, outcome) if outcome else ())]
    return "## Limits that follow\n\n" + "".join(f"- {line}\n" for line in found)


def _limits_of_facts(facts: Facts) -> list[str]:
    recipe = facts.recipe
    found = ["No task was evaluated during this run; what it is good for is not measured here."]
    length = min(recipe.max_tokens, facts.context)
    if length < facts.context:
        found.append(
            f"Texts of more than {length:,} tokens were never learnt; the model takes {facts.context:,}."
        )
    if not facts.license:
        found.append("The licence of the weights that it came from is unknown.")
    if recipe.train.plan.dtype in ("bf16", "fp16"):
        found.append(f"Matrix products were computed in {recipe.train.plan.dtype}.")
    if facts.kind == "adapter":
        found.append("It works with the base weights named above alone.")
    if not recipe.train.steps and recipe.train.epochs > MAX_PASSES:
        found.append(f"The same data were passed over {recipe.train.epochs} times.")
    return found


def _limits_of_outcome(facts: Facts, outcome: Outcome) -> list[str]:
    found = []
    if outcome.valid_loss is None:
        found.append("No loss was taken on text that was held out: how much was learnt by heart is unknown.")
    elif outcome.best_valid_step != outcome.steps and not facts.recipe.train.restore_best:
        found.append(
            f"The loss held out was lowest after step {outcome.best_valid_step:,}; these weights are the later ones "
            f"of step {outcome.steps:,}."
        )
    per_parameter = outcome.trained_tokens / facts.parameters
    if not isinstance(facts.recipe.model, str) and per_parameter < TOKENS_PER_PARAMETER:
        found.append(
            f"It learnt {per_parameter:.2g} tokens per parameter; about {TOKENS_PER_PARAMETER} are what a model of "
            "its size makes most of."
        )
    if outcome.skipped:
        found.append(f"Steps skipped because their loss or gradient was unfit: {outcome.skipped:,}.")
    return found


def _table(rows: Mapping[str, Any]) -> str:
    lines = (f"| {name} | {str(value).replace('|', '/')} |\n" for name, value in rows.items())
    return "| | |\n| --- | --- |\n" + "".join(lines)


def _settings(values: Mapping[str, Any]) -> str:
    said = {"kind": values.get("kind")} | dict(values)  # what it is stands first
    said = {name: value for name, value in said.items() if value is not None}
    return yaml.safe_dump(said, default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return f"{package} (version unknown)"
