"""What `train --plan` says of memory and time, beside what the run then takes; each in a process of its own.

python benchmarks/forecast.py [--quick] [--json] [--cases NAME ...] [--sizes NAME ...] [--steps N]

Pre-training, supervised tuning with LoRA, DPO and GRPO, of a tiny Llama and of one with 24.4M parameters, on
random texts of uneven lengths. Of memory the largest resident size of the whole process counts, from its start
to the artifact that it writes; of time, the run from its start to its end as `runs list` shows it. Both are
promised within 15 %.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import machine

PROMISED = 0.15
WORDS = tuple("the owner of spring winds it and wheels turn old harbour tower lamp granite".split())  # noqa: SIM905
VOCABULARY = 8192
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 512},
    "25M": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 6,
            "num_key_value_heads": 6, "vocab_size": VOCABULARY},
}  # fmt: skip
PLAN = {"dtype": "bf16", "micro_batch_tokens": 4096, "threads": 1}
LORA = {"kind": "lora", "rank": 16, "alpha": 32}
CASES: dict[str, dict[str, Any]] = {
    "pretrain": {"data": {"kind": "rows", "dataset": "dataset/ids"}, "train": {"items_per_step": 16}},
    "sft": {"transform": LORA, "train": {"items_per_step": 16}, "validation_fraction": 0.05},
    "dpo": {"transform": LORA, "train": {"items_per_step": 16}, "max_tokens": 512},
    "grpo": {"transform": LORA, "train": {"items_per_step": 4},
             "rollout": {"answers": 8, "max_tokens": 64, "reward": {"kind": "regex", "pattern": "o"}}},
}  # fmt: skip
FILES = {"sft": "chats.jsonl", "dpo": "pairs.jsonl", "grpo": "prompts.jsonl"}
STEPS = {"tiny": 100, "25M": 12}
STEPS_QUICK = {"tiny": 20, "25M": 4}


def text(draw: random.Random, least: int, most: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randrange(least, most)))


def write_data(folder: Path) -> None:
    """Conversations, pairs and prompts of uneven lengths."""
    draw = random.Random(0)

    def user() -> dict[str, str]:
        return {"role": "user", "content": text(draw, 5, 60)}

    def lines(name: str, count: int, make: Any) -> None:
        (folder / name).write_text("".join(json.dumps(make()) + "\n" for _ in range(count)))

    def chat() -> dict[str, Any]:
        return {"messages": [user(), {"role": "assistant", "content": text(draw, 10, 160)}]}

    lines("chats.jsonl", 2000, chat)
    lines("pairs.jsonl", 1000, lambda: {
        "messages": [user()], "chosen": text(draw, 10, 90), "rejected": text(draw, 10, 90)
    })  # fmt: skip
    lines("prompts.jsonl", 500, lambda: {"messages": [user()], "reference": "o"})


def prepare(root: Path, size: str) -> None:
    """A workspace with a model that has learnt nothing, its tokenizer, and texts for every case."""
    from mainspring import artifact as artifacts
    from mainspring.app import Workspace
    from mainspring.config import build
    from mainspring.data.document import Document
    from mainspring.data.shard import write_shards
    from mainspring.models.init import fresh
    from mainspring.models.load import understand
    from mainspring.models.save import save
    from mainspring.tokenizer.train import TokenizerSettings, train

    root.mkdir()
    write_data(root)
    draw = random.Random(1)
    texts = [text(draw, 20, 400) for _ in range(800)]
    settings = build(TokenizerSettings, {"vocab_size": 300})
    tokenizer = train(texts, settings)
    model = fresh(understand(published(size), Path("forecast.py")), 0)

    def fill_model(folder: Path) -> None:
        save(model, folder)
        tokenizer.save(folder)

    def fill_shards(folder: Path) -> None:
        documents = (Document(id=f"t{number}", text=each) for number, each in enumerate(texts))
        write_shards(documents, tokenizer, folder / "shards")

    with Workspace(root) as workspace:
        add = workspace.registry.add
        where = workspace.registry.root
        add(artifacts.write(where, "tokenizer", "bench", tokenizer.save))
        add(artifacts.write(where, "model", "bench", fill_model, config={"generates": True}))
        add(artifacts.write(where, "dataset", "ids", fill_shards, parents={"tokenizer": "tokenizer/bench@1"}))


def published(size: str) -> dict[str, Any]:
    """config.json of the model."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, **SHAPES[size],
    }  # fmt: skip


def recipe_of(root: Path, case: str, size: str, steps: int) -> Any:
    """The preset of a case with little changed."""
    from mainspring.train.recipe import load_recipe

    values: dict[str, Any] = {"model": "model/bench", "tokenizer": "", **CASES[case]}
    if case == "pretrain":
        values |= {"model": published(size), "tokenizer": "tokenizer/bench"}
    else:
        values["data"] = {"dataset": str(root / FILES[case])}
    values["train"] = {**values["train"], "steps": steps, "plan": PLAN, "report_every_steps": steps}
    path = root / f"{case}.json"
    path.write_text(json.dumps(values))  # JSON is YAML
    return load_recipe(case, [path])


def work(what: str, root: Path, case: str, size: str, steps: int) -> dict[str, float]:
    """What a fresh process does: forecast a run, or make it; bytes and seconds."""
    from mainspring import device
    from mainspring.app import Workspace
    from mainspring.train.run import plan_recipe, run_recipe

    with Workspace(root) as workspace:
        recipe = recipe_of(root, case, size, steps)
        if what == "plan":
            found = plan_recipe(workspace.registry, recipe).forecast
            return {"bytes": found.peak_bytes, "seconds": found.seconds}
        _, run = run_recipe(workspace.registry, workspace.runs, recipe)
        assert run.ended is not None
        return {"bytes": device.peak_rss_bytes(), "seconds": run.ended - run.started}


def child(what: str, root: Path, case: str, size: str, steps: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--worker", what, str(root), case, size, str(steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(case: str, size: str, steps: int) -> list[dict[str, Any]]:
    """A row of memory and one of time."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        prepare(root, size)
        said, took = (child(what, root, case, size, steps) for what in ("plan", "run"))
    name = f"{case}, {size}, {steps} steps"
    rows = []
    for what, unit, scale in (("bytes", "GB", 1e9), ("seconds", "s", 1.0)):
        off = said[what] / took[what] - 1
        rows.append({
            "what": f"{name}: {'memory' if what == 'bytes' else 'time'}", "unit": unit, "ours": said[what] / scale,
            "opponents": {"taken": took[what] / scale}, "ratio": said[what] / took[what], "floor": None,
            "off": off, "is_kept": abs(off) <= PROMISED,
        })  # fmt: skip
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--sizes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=0, help="of every run; 0: as many as the size takes")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        what, root, case, size, steps = args.worker
        print(json.dumps(work(what, Path(root), case, size, int(steps))))
        return 0
    usual = STEPS_QUICK if args.quick else STEPS
    rows = []
    for size in args.sizes:
        for case in args.cases:
            rows += measure(case, size, args.steps or usual[size])
            for each in rows[-2:]:
                taken = each["opponents"]["taken"]
                print(
                    f"{each['what']}: {each['ours']:.2f} {each['unit']} foreseen, {taken:.2f} taken, "
                    f"{each['off']:+.1%}",
                    file=sys.stderr if args.json else sys.stdout, flush=True,
                )  # fmt: skip
    if args.json:
        print(json.dumps({"benchmark": "forecast", "machine": machine(), "rows": rows}))
    return 0 if all(each["is_kept"] for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
