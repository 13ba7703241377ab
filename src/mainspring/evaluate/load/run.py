"""Ask a server for a while, and say how it kept up.

A closed loop keeps a number of requests open, as that many patient users would. An open loop sends them at random
moments at a rate, whether or not the server keeps up (Poisson arrivals), as strangers do.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
import numpy as np
from pydantic import Field

from mainspring.config import Config
from mainspring.evaluate.load.client import Answered, Target, ask
from mainspring.evaluate.load.mix import Asked, MixName, requests


class LoadConfig(Config):
    """How a server is asked."""

    mix: MixName = Field(default="chat", description="What is asked; see the guide's page on the API.")
    loop: Literal["closed", "open"] = Field(
        default="closed", description="Patient users, or arrivals at a rate."
    )
    at_once: int = Field(default=16, ge=1, description="Requests that a closed loop keeps open.")
    rate: float = Field(default=1.0, gt=0, description="Requests a second of an open loop.")
    num_requests: int = Field(default=64, ge=1, description="Requests in all.")
    seed: int = Field(default=0, description="Of the requests and their moments.")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load. Times in seconds; the gap is between two pieces of one answer."""

    num_requests: int
    num_failed: int
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    tokens_per_s: float
    requests_per_s: float
    first_token_p50_s: float
    first_token_p99_s: float
    gap_p50_s: float
    gap_p99_s: float
    whole_p50_s: float
    whole_p99_s: float
    first_error: str = ""


def run(target: Target, config: LoadConfig, advance: Callable[[], object] = lambda: None) -> list[Answered]:
    """Send all requests; `advance` is called after each."""
    wanted = itertools.islice(requests(config.mix, config.seed), config.num_requests)
    return asyncio.run((_closed if config.loop == "closed" else _open)(target, config, wanted, advance))


async def _closed(
    target: Target, config: LoadConfig, wanted: Iterator[Asked], advance: Callable[[], object]
) -> list[Answered]:
    done: list[Answered] = []

    async def user() -> None:
        for asked in wanted:  # all users take from one list
            done.append(await ask(target, asked))
            advance()

    await asyncio.gather(*(user() for _ in range(config.at_once)))
    return done


async def _open(
    target: Target, config: LoadConfig, wanted: Iterator[Asked], advance: Callable[[], object]
) -> list[Answered]:
    chance = random.Random(config.seed)  # noqa: S311 - moments, not a secret
    tasks: list[asyncio.Task[Answered]] = []
    for asked in wanted:
        task = asyncio.create_task(ask(target, asked))
        task.add_done_callback(lambda _: advance())
        tasks.append(task)
        await asyncio.sleep(chance.expovariate(config.rate))
    return list(await asyncio.gather(*tasks))


def summarize(answers: list[Answered]) -> Summary:
    """Figures of the requests that were answered; failed ones are counted apart."""
    good = [each for each in answers if not each.error]
    seconds = max(each.ended for each in answers) - min(each.begun for each in answers)
    tokens = sum(each.completion_tokens for each in good)
    first = _quantiles([each.first_token_s for each in good])
    gap = _quantiles([gap for each in good for gap in each.gaps_s])
    whole = _quantiles([each.ended - each.begun for each in good])
    return Summary(
        num_requests=len(answers), num_failed=len(answers) - len(good), seconds=seconds,
        prompt_tokens=sum(each.prompt_tokens for each in good), completion_tokens=tokens,
        tokens_per_s=tokens / seconds, requests_per_s=len(good) / seconds,
        first_token_p50_s=first[0], first_token_p99_s=first[1], gap_p50_s=gap[0], gap_p99_s=gap[1],
        whole_p50_s=whole[0], whole_p99_s=whole[1],
        first_error=next((each.error for each in answers if each.error), ""),
    )  # fmt: skip


def _quantiles(values: list[float]) -> tuple[float, float]:
    """Median and 99th percentile; zeros where there is nothing."""
    if not values:
        return 0.0, 0.0
    p50, p99 = np.quantile(values, (0.5, 0.99))
    return float(p50), float(p99)
