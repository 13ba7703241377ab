"""Our server against other engines on the same weights, machine and prompts, in one run.

python benchmarks/serve.py --model FOLDER [--gguf FILE] [--openvino PYTHON] [--llama-cpp PYTHON] [--vllm PYTHON]
    [--quick] [--json]

Ours answers over HTTP, its engine in a process of its own, 8-bit weights, in the exact mode. The opponents are called
without a server, each in an environment of its own (the Python that has it is named): llama.cpp by batches of
sequences, OpenVINO GenAI by continuous batching, vLLM's CPU engine in bf16, transformers in bf16 here. All get the
same ids, ignore ends and take turns; figures are medians over the rounds. Decoding is (time of n tokens - time of 1
token), prefill the time to the first token.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mainspring import chat
from mainspring.evaluate.load.client import Answered, Target, ask
from mainspring.evaluate.load.mix import WORDS, Asked
from mainspring.schema import Message
from mainspring.tokenizer.base import Tokenizer
from report import row, show

OPPONENTS = Path(__file__).parent / "opponents"
START_S = 300


@dataclass(frozen=True)
class Task:
    """So many prompts of so many ids (about), and the tokens each answer has."""

    what: str
    prompts: int
    words: int
    tokens: int


TASKS = (
    Task("prefill", 1, 440, 1),
    Task("prefill", 1, 1800, 1),
    Task("prefill", 1, 4000, 1),
    Task("alone", 1, 40, 96),
    Task("16 at once", 16, 40, 64),
    Task("32 at once", 32, 40, 48),
)


class Opponent:
    """A program that takes tasks as lines of JSON and says how long each took."""

    def __init__(self, python: str, script: str, model: Path, threads: int) -> None:
        command = [python, str(OPPONENTS / script), str(model), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.name = self._read()["version"]

    def run(self, prompts: list[list[int]], tokens: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompts": prompts, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        said = self._read()
        assert said["tokens"] == tokens * len(prompts), f"{self.name} gave {said['tokens']} tokens"
        return said["seconds"]

    def close(self) -> None:
        self._process.kill()

    def _read(self) -> dict:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self._process.args} ended; run it by hand to see why.")


class Ours:
    """`mainspring serve` in a process, asked over HTTP."""

    def __init__(self, model: Path, folder: Path, options: Sequence[str]) -> None:
        command = [sys.executable, "-m", "mainspring", "serve", "--model", str(model), "--port", "0"]
        command += ["--workspace", str(folder), *itertools.chain(*(("-o", each) for each in options))]
        self._log = (folder.parent / "serve.log").open("w+")
        self._process = subprocess.Popen(command, stderr=self._log, stdout=self._log)
        self.pid = self._process.pid
        self.target = Target(url=self._wait(), model=model.name)

    def _wait(self) -> str:
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            self._log.seek(0)
            for line in self._log:
                if line.startswith("ready"):
                    return line.split()[1]
            time.sleep(0.1)
        self._log.seek(0)
        raise SystemExit(f"our server did not start:\n{self._log.read()}")

    def seconds(self, texts: list[str], tokens: int) -> float:
        """From the first request sent to the last answer read."""
        answers = self._run(texts, tokens)
        return max(each.ended for each in answers) - min(each.begun for each in answers)

    def _run(self, texts: list[str], tokens: int) -> list[Answered]:
        async def all_at_once() -> list[Answered]:
            return list(
                await asyncio.gather(*(ask(self.target, Asked(text=t, max_tokens=tokens)) for t in texts))
            )

        answers = asyncio.run(all_at_once())
        failed = next((each.error for each in answers if each.error), None)
        if failed:
            raise SystemExit(f"our server failed: {failed}")
        return answers

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def texts_of(task: Task, chance: random.Random) -> list[str]:
    return [" ".join(chance.choices(WORDS, k=task.words)) for _ in range(task.prompts)]


def measure(ours: Ours, opponents: Sequence[Opponent], tokenizer: Tokenizer, task: Task, rounds: int) -> dict:
    """Tokens a second of every engine: of the prompt for prefill, else of decoding."""
    found: dict[str, list[float]] = {name: [] for name in ["ours", *(each.name for each in opponents)]}
    chance = random.Random(task.what)
    for _ in range(rounds + 1):
        texts = texts_of(task, chance)  # new ones every time: nobody finds them in a cache
        ids = [chat.render([Message("user", text)], tokenizer, open_reply=True).ids for text in texts]
        prompt_tokens, decoded = sum(map(len, ids)), (task.tokens - 1) * task.prompts
        for opponent in opponents:
            first_s = opponent.run(ids, 1)
            found[opponent.name].append(
                prompt_tokens / first_s
                if task.tokens == 1
                else decoded / (opponent.run(ids, task.tokens) - first_s)
            )
        first_s = ours.seconds(
            texts_of(task, chance), 1
        )  # others, lest the cache knows them in the second run
        whole_s = first_s if task.tokens == 1 else ours.seconds(texts, task.tokens)
        found["ours"].append(prompt_tokens / first_s if task.tokens == 1 else decoded / (whole_s - first_s))
    rates = {
        name: statistics.median(values[1:]) for name, values in found.items()
    }  # the first round warms up
    mine = rates.pop("ours")
    return row(f"{task.what}, {task.words} words", "tokens/s", mine, rates)


@contextlib.contextmanager
def started(args: argparse.Namespace, folder: Path) -> Iterator[tuple[Ours, list[Opponent]]]:
    opponents: list[Opponent] = []
    ours = Ours(
        args.model, folder / "workspace", ["engine.backend=native", "engine.isolate=true", *args.option]
    )
    try:
        if args.llama_cpp:
            opponents.append(Opponent(args.llama_cpp, "run_llama_cpp.py", args.gguf, args.threads))
        if args.openvino:
            opponents.append(Opponent(args.openvino, "run_openvino.py", args.gguf, args.threads))
        if args.vllm:
            opponents.append(Opponent(args.vllm, "run_vllm.py", args.model, args.threads))
        if not args.quick:
            opponents.append(Opponent(sys.executable, "run_transformers.py", args.model, args.threads))
        yield ours, opponents
    finally:
        for each in (ours, *opponents):
            each.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="A folder in the published layout.")
    parser.add_argument("--gguf", type=Path, help="The same weights for llama.cpp and OpenVINO.")
    parser.add_argument("--openvino", help="The Python that has openvino_genai.")
    parser.add_argument("--llama-cpp", help="The Python that has llama_cpp.")
    parser.add_argument("--vllm", help="The Python that has vllm.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--option", action="append", default=[], help="A setting of our server.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    tokenizer = Tokenizer.load(args.model)
    with tempfile.TemporaryDirectory() as scratch, started(args, Path(scratch)) as (ours, opponents):
        rounds = 1 if args.quick else args.rounds
        rows = [measure(ours, opponents, tokenizer, task, rounds) for task in TASKS]
    show("serve", rows, as_json=args.json)


if __name__ == "__main__":
    main()
