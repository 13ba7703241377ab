"""Judges many answers; where judging fails, the sample is kept and shown."""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from mainspring.device import num_cores
from mainspring.errors import MainspringError
from mainspring.train.rewards.base import Reference, Reward

FAILED = "failed_rewards.jsonl"
SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An answer that is to be judged; `name` is what errors call it."""

    name: str
    prompt: str
    answer: str
    reference: Reference


def score(reward: Reward, samples: Sequence[Sample], folder: Path) -> list[float]:
    """The rewards of samples, in order; judged by a thread a core, since some kinds wait for processes.

    Raises:
        MainspringError: a reward that raised or gave no finite number. The samples lie in `failed_rewards.jsonl`
            in `folder` then, each with its error.

    """
    with ThreadPoolExecutor(num_cores()) as pool:
        found = list(pool.map(partial(_judge, reward), samples))
    failed = [
        (sample, each) for sample, each in zip(samples, found, strict=True) if isinstance(each, Exception)
    ]
    if failed:
        raise _failure(reward, failed, len(samples), folder) from failed[0][1]
    return [each for each in found if isinstance(each, float)]


def _judge(reward: Reward, sample: Sample) -> float | Exception:
    try:
        value = float(reward(sample.prompt, sample.answer, sample.reference))
    except Exception as error:  # noqa: BLE001 - whatever a reward does wrong is told with its sample
        return error
    return value if math.isfinite(value) else ValueError(f"the reward is {value}, which is no finite number")


def _failure(
    reward: Reward, failed: list[tuple[Sample, Exception]], count: int, folder: Path
) -> MainspringError:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FAILED).open("a", encoding="utf-8") as stream:
        for sample, error in failed:
            stream.write(json.dumps({**asdict(sample), "reward": reward.kind, "error": _said(error)}) + "\n")
    sample, error = failed[0]
    return MainspringError(
        f"The reward '{reward.kind}' failed on {len(failed)} of {count} answers, first on {sample.name}: "
        f"{_said(error)}\n  prompt: {_short(sample.prompt)}\n  answer: {_short(sample.answer)}\n"
        f"They lie in {folder / FAILED}. Correct the reward or the reference, and go on with the run."
    )


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, MainspringError) else f"{type(error).__name__}: {error}"


def _short(text: str) -> str:
    """The text on one line, its middle left out where it is long."""
    half = SHOWN_CHARACTERS // 2
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:half]} ... {text[-half:]}")
