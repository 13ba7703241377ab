"""Vocabularies side by side: how short texts become, in which language, and how fast.

bytes per token: UTF-8 bytes of held-out text over its ids; higher is shorter. fertility: ids for every word,
words being what stands between blanks (in scripts without blanks, every character); lower is better.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mainspring.errors import MissingExtraError
from mainspring.tokenizer.base import Tokenizer

WITHOUT_BLANKS = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF), (0x0E00, 0x0E7F))
SECONDS = 0.5  # of encoding, at least, for a speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One tokenizer on the held-out texts. `mb_per_s`: UTF-8 megabytes encoded in a second, on all cores."""

    name: str
    vocab_size: int
    bytes_per_token: float
    fertility: dict[str, float]
    mb_per_s: float


def measure(name: str, tokenizer: Tokenizer, texts: Mapping[str, Sequence[str]]) -> Measured:
    """Encode held-out texts, given by language."""
    ids = {language: tokenizer.encode_many(each) for language, each in texts.items()}
    num_ids = {language: sum(map(len, each)) for language, each in ids.items()}
    num_bytes = sum(len(text.encode()) for each in texts.values() for text in each)
    return Measured(
        name=name,
        vocab_size=tokenizer.vocab_size,
        bytes_per_token=num_bytes / max(sum(num_ids.values()), 1),
        fertility={
            language: num_ids[language] / max(sum(map(num_words, each)), 1)
            for language, each in texts.items()
        },
        mb_per_s=_speed(tokenizer, [text for each in texts.values() for text in each], num_bytes),
    )


def num_words(text: str) -> int:
    """Words between blanks; a character of a script that writes none is a word."""
    alone = sum(any(low <= ord(character) <= high for low, high in WITHOUT_BLANKS) for character in text)
    kept = "".join(
        " " if any(low <= ord(character) <= high for low, high in WITHOUT_BLANKS) else character
        for character in text
    )
    return alone + len(kept.split())


def _speed(tokenizer: Tokenizer, texts: Sequence[str], num_bytes: int) -> float:
    began, rounds = time.perf_counter(), 0
    while not rounds or time.perf_counter() - began < SECONDS:
        tokenizer.encode_many(texts)
        rounds += 1
    return rounds * num_bytes / 1e6 / (time.perf_counter() - began)


def plot(rows: Sequence[Measured], path: Path) -> None:
    """Bytes per token and fertility over the vocabulary's size, as a PNG."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "The plot of a comparison") from None
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for kind in dict.fromkeys(row.name.partition(" ")[0] for row in rows):
        of_kind = [row for row in rows if row.name.partition(" ")[0] == kind]
        sizes = [row.vocab_size for row in of_kind]
        left.plot(sizes, [row.bytes_per_token for row in of_kind], marker="o", label=kind)
        for language in of_kind[0].fertility:
            right.plot(
                sizes, [row.fertility[language] for row in of_kind], marker="o", label=f"{kind} {language}"
            )
    for axes, what in ((left, "bytes per token"), (right, "tokens per word")):
        axes.set_xlabel("vocabulary")
        axes.set_ylabel(what)
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
