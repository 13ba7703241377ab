"""The data pipeline: memory at two sizes of input, and MB/s of every stage.

python benchmarks/build.py [--quick] [--json] [--megabytes SMALL LARGE] [--workers N]

Made-up documents with duplicates go through a rule, all kinds of duplicates, and the split, in a process of its
own. Memory is the largest sum over that process and its workers, looked at twenty times a second, in two counts:
their own pages (anonymous ones, which nobody else can have), and all resident ones. The second grows with the
input, because signatures and places are mapped from files, whose pages the system keeps as long as it has room;
the first is what must be flat. MB/s are megabytes of text a second on all workers together.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from corpus import make_texts
from report import row, show

RECIPE = """
name: benchmark
sources: [{kind: rows, path: PATH}]
rules: [unicode]
dedup: {exact: true, near: true, spans: true}
split: {fractions: {train: 0.98, validation: 0.02}}
"""
TEXTS = 2_000
FLAT = 0.9
POLL_S = 0.05


def write_rows(path: Path, megabytes: float) -> None:
    """Rows of about that size: many different texts made of the words of some, every tenth one there before."""
    rng = random.Random(0)
    words = [text.split() for text in make_texts(TEXTS, 0)]
    size, earlier = 0, ""
    with path.open("w", encoding="utf-8") as stream:
        while size < megabytes * 1e6:
            chosen = rng.choice(words)
            start = rng.randrange(max(1, len(chosen) - 20))
            sentences = [" ".join(rng.choice(words)[start : start + rng.randint(8, 30)]) for _ in range(12)]
            text = earlier if earlier and rng.random() < 0.1 else "The " + ". The ".join(sentences) + "."
            earlier = text if rng.random() < 0.2 else earlier
            size += stream.write(json.dumps({"text": text}) + "\n")


def measure(megabytes: float, workers: int, folder: Path) -> tuple[tuple[float, float], dict]:
    """(peaks of own and of all resident memory in MB, what the build said)."""
    rows, recipe, out = folder / "rows.jsonl", folder / "recipe.yaml", folder / "said.json"
    write_rows(rows, megabytes)
    recipe.write_text(RECIPE.replace("PATH", str(rows)), encoding="utf-8")
    command = [
        sys.executable, "-m", "mainspring", "data", "build", "-c", str(recipe), "-o",
        f"executor.workers={workers}", "--workspace", str(folder / "workspace"), "--json",
    ]  # fmt: skip
    with out.open("w") as stream:
        child = subprocess.Popen(command, stdout=stream)
        own, resident = 0.0, 0.0
        while child.poll() is None:
            now = _memory(child.pid)
            own, resident = max(own, now[0]), max(resident, now[1])
            time.sleep(POLL_S)
    if child.returncode:
        sys.exit(child.returncode)
    return (own, resident), json.loads(out.read_text())


def _memory(pid: int) -> tuple[float, float]:
    """(own pages, resident pages) of a process and its children, in MB."""
    own, resident = 0.0, 0.0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
            told = dict(line.split(":", 1) for line in lines)
            own += int(told.get("RssAnon", "0 kB").split()[0]) / 1e3
            resident += int(told.get("VmRSS", "0 kB").split()[0]) / 1e3
    except (psutil.NoSuchProcess, OSError):  # one ended meanwhile
        pass
    return own, resident


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="5 and 50 MB in place of 100 and 1000")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--megabytes", nargs=2, type=float, default=None)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    small, large = arguments.megabytes or ((5, 50) if arguments.quick else (100, 1000))
    rows, peaks = [], []
    for megabytes in (small, large):
        with tempfile.TemporaryDirectory() as folder:
            (own, resident), said = measure(megabytes, arguments.workers, Path(folder))
        peaks.append(own)
        rows.append(row(f"peak of own memory at {megabytes:g} MB", "MB", own, {}))
        rows.append(
            row(f"peak of resident memory, mapped files too, at {megabytes:g} MB", "MB", resident, {})
        )
    rows += [
        row(f"stage {each['stage']} at {large:g} MB", "MB/s", each["mb_per_s"], {}) for each in said["stages"]
    ]
    steps = said["report"]["steps"]
    rows += [
        row(f"step {name} at {large:g} MB, one processor", "MB/s", steps[name]["bytes"] / 1e6 / seconds, {})
        for name, seconds in said["seconds"].items()
        if name in steps and seconds
    ]
    rows.append(
        row(
            "own memory at the smaller size in times of that at the larger",
            "",
            peaks[0] / peaks[1],
            {"flat": 1.0},
            FLAT,
        )
    )
    return 0 if show("data build", rows, as_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
