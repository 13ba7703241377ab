"""What tuning on a second domain forgets of the first, and how much of it EWC and rehearsal recover.

python benchmarks/forgetting.py [--data FOLDER] [--out FOLDER] [--seeds N ...] [--quick] [--json]

A Llama of 4 layers, width 128 and 2,048 tokens (1.1M parameters) learns the first domain from nothing, and its
recipe estimates the Fisher information there. From that model four recipes tune on the second domain, for as many
steps each: naive; with the EWC penalty; with old documents mixed in (rehearsal; a fifth of the first domain is kept for
it); with both. Runs that rehearse see every new document once, the others begin again where those read old ones. The
loss in nats a token is taken on held-out documents of both domains.

    forgotten = old loss of naive - old loss before          recovered = (old loss of naive - its old loss) / forgotten
    gain      = new loss before - new loss after             kept      = its gain / gain of naive

FOLDER of --data holds `tiny-shakespeare/input.txt` (the first domain) and `gsm8k/train.jsonl` (the second one) as
they are published; without it, the domains are texts in two made-up languages. The seed draws the held-out documents,
the first weights and the order. Intervals hold 95 % of the means of seeds drawn again. What --out has of a seed is
not run again, and a training that was stopped goes on. The settings were chosen on seed 100, which is not among those
that are reported.
"""

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpus import make_texts
from mainspring import artifact as artifacts
from mainspring.app import Workspace
from mainspring.config import build
from mainspring.data.document import Document
from mainspring.data.shard import write_shards
from mainspring.models.load import load
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.train import TokenizerSettings
from mainspring.tokenizer.train import train as train_tokenizer
from mainspring.train.document_nll import document_nll
from mainspring.train.recipe import Recipe
from mainspring.train.run import ANCHOR, run_recipe
from report import row, show

MODEL = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}  # fmt: skip
PLAN = {"threads": 1, "micro_batch_tokens": 4096}
ARMS = ("naive", "EWC", "rehearsal", "EWC and rehearsal")
RECOVERED, KEPT = 80.0, 95.0
RESAMPLES = 10_000

Losses = dict[str, list[float]]
"""By arm, and "before": (old, new)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of both trainings. share: old documents among all of a run that rehearses; memory: part of them that is kept."""

    num_old: int = 1500
    num_new: int = 1500
    num_held: int = 150
    vocab_size: int = 2048
    epochs: int = 3
    lr_new: float = 1e-3
    coefficient: float = 0.02
    fisher_items: int = 100
    share: float = 0.2
    memory: float = 0.2


QUICK = Settings(
    num_old=120, num_new=120, num_held=40, vocab_size=600, epochs=1, fisher_items=16, memory=0.25
)


def shakespeare(folder: Path) -> list[str]:
    """Neighbouring speeches, at least 450 characters together."""
    speeches = (folder / "tiny-shakespeare" / "input.txt").read_text(encoding="utf-8").split("\n\n")
    texts = [""]
    for speech in speeches:
        if len(texts[-1]) >= 450:
            texts.append("")
        texts[-1] += speech + "\n\n"
    return texts


def problems(folder: Path) -> list[str]:
    """Question and worked answer, without the marks that a calculator would read."""
    lines = (folder / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [f"{each['question']}\n{re.sub(r'<<.*?>>', '', each['answer'])}" for each in found]


def languages() -> tuple[list[str], list[str]]:
    """Texts in two made-up languages of the same letters."""
    first, second = ([text[:800] for text in make_texts(3000, seed)] for seed in (1, 2))
    return first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Documents of a domain: `train` and `held` never meet."""

    name: str
    train: Sequence[Document]
    held: Sequence[Document]


def domain(name: str, texts: Sequence[str], num_train: int, num_held: int, seed: int) -> Domain:
    drawn = random.Random(seed).sample(list(dict.fromkeys(texts)), num_train + num_held)
    documents = [Document(id=f"{name} {number}", text=text) for number, text in enumerate(drawn)]
    return Domain(name=name, train=documents[num_held:], held=documents[:num_held])


@dataclass(slots=True, kw_only=True)
class Trial:
    """One seed: a workspace with both domains as token shards."""

    workspace: Workspace
    settings: Settings
    seed: int
    domains: tuple[Domain, Domain]

    def prepare(self) -> None:
        """A tokenizer of both domains, and their shards."""
        registry, texts = self.workspace.registry, [each.text for one in self.domains for each in one.train]
        if registry.has("dataset/new"):
            return
        tokenizer = train_tokenizer(texts, TokenizerSettings(vocab_size=self.settings.vocab_size))
        made = artifacts.write(registry.root, "tokenizer", "both", tokenizer.save)
        parents = {"tokenizer": registry.add(made).reference}
        for each in self.domains:

            def fill(folder: Path, each: Domain = each) -> None:
                write_shards(each.train, tokenizer, folder / "shards")

            registry.add(artifacts.write(registry.root, "dataset", each.name, fill, parents=parents))

    def run(self, name: str, **values: Any) -> Path:
        """The folder of the model that a recipe makes or has made; a run that was stopped goes on."""
        registry, runs = self.workspace.registry, self.workspace.runs
        if not registry.has(f"model/{name}"):
            recipe = build(Recipe, {"name": name, "objective": {"kind": "clm"}, **values})
            stopped = [each.id for each in runs.list("train") if each.config["name"] == name]
            run_recipe(registry, runs, recipe, resume=stopped[0] if stopped else None)
        return registry.folder(registry.get(f"model/{name}"))

    def train(self, items_per_step: int, steps: int, optim: dict[str, Any]) -> dict[str, Any]:
        return {
            "steps": steps, "items_per_step": items_per_step, "seed": self.seed, "report_every_steps": 50,
            "save_every_steps": 5, "optim": optim, "plan": PLAN,
        }  # fmt: skip

    def first(self) -> Path:
        """The model that knows the first domain, with what mattered to it."""
        settings = self.settings
        steps = settings.epochs * settings.num_old // 32
        return self.run(
            "before", model=MODEL, data={"kind": "documents", "dataset": "dataset/old"},
            fisher={"items": settings.fisher_items, "seed": self.seed},
            train=self.train(32, steps, {"kind": "muon", "lr": 0.02, "adamw_lr": 3e-3}),
        )  # fmt: skip

    def tune(self, arm: str, anchor: Path) -> Path:
        """The model that has learnt the second domain in one of four ways."""
        settings, data = self.settings, {"kind": "documents", "dataset": "dataset/new"}
        steps = round(settings.num_new / (1 - settings.share) / 16)
        if "rehearsal" in arm:
            memory = {"num_items": max(1, round(settings.memory * settings.num_old))}
            old = {"kind": "documents", "dataset": "dataset/old", **memory}
            data = {"kind": "mixed", "parts": [data, old], "shares": [1 - settings.share, settings.share]}
        penalty = {"kind": "ewc", "coefficient": settings.coefficient, "anchor": str(anchor)}
        return self.run(
            arm.replace(" ", "-").lower(), model="model/before", data=data,
            penalties=[penalty] if "EWC" in arm else [],
            train=self.train(16, steps, {"kind": "adamw", "lr": settings.lr_new}),
        )  # fmt: skip

    def losses(self, folder: Path) -> list[float]:
        """(old, new): nats a token of held-out documents."""
        model, tokenizer = load(folder), Tokenizer.load(folder)
        return [
            float(np.mean([nll for _, nll in document_nll(model, tokenizer, each.held)]))
            for each in self.domains
        ]


def trial(texts: tuple[list[str], list[str]], settings: Settings, seed: int, folder: Path) -> Losses:
    """One seed from the first weights to the last arm; models that the folder has are not trained again."""
    sizes = (("old", settings.num_old), ("new", settings.num_new))
    old, new = (
        domain(name, each, size, settings.num_held, seed)
        for each, (name, size) in zip(texts, sizes, strict=True)
    )
    with Workspace(folder) as workspace:
        run = Trial(workspace=workspace, settings=settings, seed=seed, domains=(old, new))
        run.prepare()
        before = run.first()
        return {"before": run.losses(before)} | {
            arm: run.losses(run.tune(arm, before / ANCHOR)) for arm in ARMS
        }


def shares(losses: Mapping[str, Sequence[float]], arm: str) -> tuple[float, float]:
    """(recovered, kept) of an arm, in percent."""
    (old, new), (old_naive, new_naive), (old_arm, new_arm) = (
        losses[each] for each in ("before", "naive", arm)
    )
    return 100 * (old_naive - old_arm) / (old_naive - old), 100 * (new - new_arm) / (new - new_naive)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean, by drawing as many of the seeds again (percentiles)."""
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(np.asarray(values)[picks].mean(1), (0.025, 0.975))
    return float(low), float(high)


def rows_of(found: Sequence[Losses]) -> list[dict]:
    """Recovered and kept of each arm; what is promised is of both together."""
    rows = [
        row(f"{name} loss, {'before' if arm == 'before' else 'after ' + arm}", "nats a token",
            float(np.mean([each[arm][side] for each in found])), {})
        for arm in ("before", *ARMS) for side, name in enumerate(("old", "new"))
    ]  # fmt: skip
    for arm in ARMS[1:]:
        measured = zip(*(shares(each, arm) for each in found), strict=True)
        for name, promised, values in zip(
            ("forgotten and recovered", "gain kept"), (RECOVERED, KEPT), measured, strict=True
        ):
            low, high = interval(values)
            floor = 1.0 if arm == ARMS[-1] else None
            made = row(f"{name}, {arm}", "%", float(np.mean(values)), {"promised": promised}, floor)
            rows += [made | {"low": low, "high": high}]
            rows += [
                row(f"{name}, {arm}: {end} end of 95 %", "%", value, {})
                for end, value in (("lower", low), ("upper", high))
            ]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None, help="keeps each seed's losses")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(5)])
    parser.add_argument("--quick", action="store_true", help="a tenth of the documents, one seed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings = QUICK if arguments.quick else Settings()
    texts = languages() if arguments.data is None else (shakespeare(arguments.data), problems(arguments.data))
    found = []
    with tempfile.TemporaryDirectory() as thrown_away:
        out = arguments.out or Path(thrown_away)
        for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
            found.append(trial(texts, settings, seed, out / f"seed-{seed}"))
            told = ", ".join(
                f"{arm}: {recovered:.1f} % recovered, {kept:.1f} % kept"
                for arm in ARMS[1:] for recovered, kept in [shares(found[-1], arm)]
            )  # fmt: skip
            print(f"seed {seed}: {told}", file=sys.stderr)
    return 0 if show("forgetting", rows_of(found), as_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
