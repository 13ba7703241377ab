"""Characters of tiny Shakespeare: what nanoGPT learns of them by its own loop and recipe, and what Mainspring does.

python benchmarks/shakespeare.py cpu --data FOLDER --nanogpt FOLDER --out FOLDER     0.8M parameters, 1.5M tokens
python benchmarks/shakespeare.py large --data FOLDER --nanogpt FOLDER --out FOLDER   10.7M parameters, 14M tokens

FOLDER of --data holds `input.txt`, that of --nanogpt a checkout of it, that of --out what is made: it is gone on with.
Both see as many tokens and have as many parameters (within 5 %). Both are scored on the whole validation split, in
windows of the model's context, one behind the other; and on random windows, as nanoGPT estimates it. A value is the
mean cross entropy of a character in nats, lower is better; a ratio is nanoGPT's over ours.

--only ours|nanogpt trains the one and says nothing of the other, so that they can run on different days; --only compare
trains nothing. --set KEY=VALUE changes our recipe. --store writes all figures and our curve to benchmarks/results; a
test trains the beginning of such a curve again.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import nanogpt
from characters import alphabet, ids_of, publish, split
from mainspring.app import Workspace
from mainspring.models.attend import PackedAttend
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.runs import Run
from mainspring.train.recipe import Recipe, load_recipe
from mainspring.train.run import KIND, run_recipe
from nanogpt import Logits
from report import RESULTS, machine

NAME = "shakespeare"
AT_ONCE = 64
NUM_RANDOM_BATCHES = 20
QUICK_PART = 20  # --quick learns from so many times fewer tokens
PUBLISHED_LARGE = 1.4697


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One of the two comparisons. `published`: nanoGPT's loss; `limit`: ours at most; `lead`: by how much less."""

    block: int
    batch: int
    steps: int
    options: dict[str, object]
    published: float | None = None
    limit: float = math.inf
    lead: float = 0.0


SIZES = {
    "cpu": Size(
        block=64, batch=12, steps=2000, published=1.88, limit=1.75,
        options={"block_size": 64, "batch_size": 12, "n_layer": 4, "n_head": 4, "n_embd": 128, "dropout": 0.0,
                 "eval_iters": 20, "log_interval": 50, "eval_interval": 250},
    ),
    "large": Size(
        block=256, batch=64, steps=855, lead=0.03,
        options={"eval_iters": 20, "log_interval": 5, "eval_interval": 95},
    ),
}  # fmt: skip


def recipe_of(which: str, size: Size, settings: list[str], *, is_quick: bool) -> Recipe:
    """Ours; quick ones are as much shorter as nanoGPT's."""
    file = Path(__file__).parent / NAME / f"{which}.yaml"
    steps = size.steps // QUICK_PART if is_quick else size.steps
    length = [f"train.steps={steps}", f"data.num_windows={steps * size.batch}"]
    return load_recipe("pretrain", [file], [*length, *settings])


def train_ours(workspace: Workspace, recipe: Recipe) -> Run:
    """The run of a recipe: the one that is done, the one that was stopped, gone on with, or a new one."""
    found = run_of(workspace, recipe)
    if found is None:
        return run_recipe(workspace.registry, workspace.runs, recipe)[1]
    if found.status == "running":
        sys.exit(f"{found.id} is running as process {found.pid}; wait for it.")
    if found.status == "done":
        return found
    return run_recipe(workspace.registry, workspace.runs, None, resume=found.id)[1]


def run_of(workspace: Workspace, recipe: Recipe) -> Run | None:
    """The newest run of exactly this recipe."""
    config = json.loads(json.dumps(recipe.pinned(workspace.registry).model_dump(mode="json")))
    return next((run for run in workspace.runs.list(KIND) if run.config == config), None)


def logits_of(model: Model) -> Logits:
    """Our model on rows of ids."""

    def logits(ids_BT: torch.Tensor) -> torch.Tensor:
        rows, length = ids_BT.shape
        pos_T = torch.arange(length).repeat(rows)
        hidden_TD = model(ids_BT.flatten(), pos_T, PackedAttend([length] * rows))
        return model.logits(hidden_TD).unflatten(0, (rows, length))

    return logits


@torch.inference_mode()
def loss_of(logits: Logits, ids: np.ndarray, starts: np.ndarray, block: int) -> float:
    """Mean over all characters of the windows that begin at `starts`, each scored from its own window alone."""
    total = 0.0
    for begin in range(0, len(starts), AT_ONCE):
        at = starts[begin : begin + AT_ONCE, None] + np.arange(block + 1)
        ids_BT = torch.from_numpy(ids[at])
        scores_NV = logits(ids_BT[:, :-1].contiguous()).flatten(0, 1).float()
        total += float(cross_entropy(scores_NV, ids_BT[:, 1:].flatten(), reduction="sum"))
    return total / (len(starts) * block)


def losses(logits: Logits, ids: np.ndarray, size: Size) -> tuple[float, float]:
    """(over the whole split, over random windows)."""
    every = np.arange(0, len(ids) - size.block, size.block)
    some = np.random.default_rng(1337).integers(len(ids) - size.block, size=NUM_RANDOM_BATCHES * size.batch)
    return loss_of(logits, ids, every, size.block), loss_of(logits, ids, some, size.block)


def curve(workspace: Workspace, run: Run, value: str = "loss") -> Iterator[tuple[int, float]]:
    """Step and value, where a step has it: the loss of what was learnt from, or `valid_loss`."""
    for line in (workspace.runs.folder(run.id) / "metrics.jsonl").read_text().splitlines():
        values = json.loads(line)
        values |= values["metrics"]
        if value in values:
            yield values["step"], round(values[value], 5)


def compare(args: argparse.Namespace, folder: Path, workspace: Workspace, recipe: Recipe, text: str) -> dict:
    """All figures of a finished comparison."""
    size = SIZES[args.which]
    run = run_of(workspace, recipe)
    if run is None or run.status != "done":
        sys.exit("Our own run is not done: --only ours goes on with it.")
    if not (folder / "ckpt.pt").exists():
        sys.exit("nanoGPT's run has not begun: --only nanogpt begins it.")
    if nanogpt.num_done(folder) < recipe.train.steps:
        sys.exit(f"nanoGPT has made {nanogpt.num_done(folder)} iterations: --only nanogpt goes on with it.")
    model = load(workspace.registry.folder(workspace.registry.get(run.result["model"])))
    theirs, their_count = nanogpt.load(args.nanogpt, folder)
    ids = ids_of(split(text)["validation"], alphabet(text))
    ours_whole, ours_random = losses(logits_of(model), ids, size)
    their_whole, their_random = losses(theirs, ids, size)
    return {
        "tokens": recipe.train.steps * size.batch * size.block,
        "parameters": {"ours": sum(each.numel() for each in model.parameters()), "nanoGPT": their_count},
        "whole": (ours_whole, their_whole), "random": (ours_random, their_random),
        "curve": list(curve(workspace, run)), "validation": list(curve(workspace, run, "valid_loss")),
        "recipe": run.config,
    }  # fmt: skip


def judge(found: dict, size: Size) -> list[str]:
    """What was promised and is not so."""
    ours, theirs = found["whole"]
    wrong = []
    if size.published is not None and abs(found["random"][1] - size.published) > 0.03:
        wrong.append(
            f"nanoGPT has {found['random'][1]:.4f}; it publishes {size.published}, give or take 0.03"
        )
    if ours > size.limit:
        wrong.append(f"ours is {ours:.4f}; at most {size.limit} is promised")
    if theirs - ours < size.lead:
        wrong.append(f"ours is {theirs - ours:.4f} better; at least {size.lead} is promised")
    return wrong


def rows_of(which: str, found: dict) -> list[dict]:
    """As all benchmarks give them; the ratio is nanoGPT's over ours, for less is better."""
    return [
        {"what": f"{which}: validation loss, {what}", "unit": "nats a character", "ours": found[key][0],
         "opponents": {"nanoGPT": found[key][1]}, "ratio": found[key][1] / found[key][0], "floor": None}
        for key, what in (("whole", "the whole split"), ("random", "random windows"))
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=tuple(SIZES))
    for name in ("data", "nanogpt", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", choices=("ours", "nanogpt", "compare"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the tokens; nothing is judged")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--store", action="store_true", help="keep the figures beside the benchmarks")
    return parser.parse_args()


def report_of(which: str, found: dict, wrong: list[str]) -> dict:
    """One JSON object, as all benchmarks print it, with what else is known."""
    more = {key: found[key] for key in ("tokens", "parameters", "recipe", "validation", "curve")}
    return {"benchmark": NAME, "machine": machine(), "rows": rows_of(which, found), "wrong": wrong, **more}


def store(which: str, report: dict) -> None:
    """Keep a report; one entry a line, and the curve's steps behind one another."""
    RESULTS.mkdir(exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in report.items()]
    (RESULTS / f"{NAME}-{which}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _tell(which: str, found: dict, wrong: list[str]) -> None:
    print(f"{NAME} on {machine()}; {found['tokens']:,} tokens each")
    print("parameters: " + ", ".join(f"{name} {count:,}" for name, count in found["parameters"].items()))
    for each in rows_of(which, found):
        (theirs,) = each["opponents"].values()
        print(f"{each['what']}: ours {each['ours']:.4f}, nanoGPT {theirs:.4f} {each['unit']}")
    if which == "large" and found["whole"][0] <= PUBLISHED_LARGE:
        print(f"that is below {PUBLISHED_LARGE}, which nanoGPT publishes of 82M tokens")
    for each in wrong:
        print(each, file=sys.stderr)


def main() -> int:
    args = _arguments()
    size, text = SIZES[args.which], (args.data / "input.txt").read_text(encoding="utf-8")
    theirs = args.out / (f"{args.which}-quick" if args.quick else args.which) / "nanogpt"
    theirs.mkdir(parents=True, exist_ok=True)
    with Workspace(args.out / "workspace") as workspace:
        publish(workspace, text, NAME)
        recipe = recipe_of(args.which, size, args.set, is_quick=args.quick)
        if args.only in (None, "ours"):
            train_ours(workspace, recipe)
        if args.only in (None, "nanogpt"):
            short = {"eval_interval": recipe.train.steps, "warmup_iters": 5} if args.quick else {}
            nanogpt.run(args.nanogpt, theirs, text, {**size.options, **short}, recipe.train.steps)
        if args.only in ("ours", "nanogpt"):
            return 0
        found = compare(args, theirs, workspace, recipe, text)
    wrong = [] if args.quick else judge(found, size)
    report = report_of(args.which, found, wrong)
    if args.store:
        store(args.which, report)
    if args.json:
        print(json.dumps(report))
    else:
        _tell(args.which, found, wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
