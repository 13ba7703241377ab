"""Near-duplicates: our MinHash against datatrove's, both in one process, on the same documents.

python benchmarks/data.py [--quick] [--json]

Measured is the way from texts in memory to clusters of duplicates, wall time: normalization, shingles,
signatures, buckets, clusters; files go to a temporary folder on both sides. datatrove (pip install
'mainspring[bench]') runs as its documentation shows, its first three blocks under LocalPipelineExecutor with
one worker, with whole-file buffers. Both split words at white space; datatrove's own word splitters cost it
more. The clusters of both must be equal, or the benchmark fails.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from corpus import make_texts
from mainspring.data.dedup.near import Near, Settings
from report import row, show

SEED = 17
NUM_TEXTS, NUM_RUNS = 50_000, 5
NUM_TEXTS_QUICK, NUM_RUNS_QUICK = 5_000, 1
TEXTS_A_PART = 2_000
FLOOR = 3.0

Clusters = list[list[int]]


def ours(texts: Sequence[str], settings: Settings, folder: Path) -> Clusters:
    near = Near(settings)
    borders = [*range(0, len(texts), TEXTS_A_PART), len(texts)]
    signed = ((start, near.sign(texts[start:end])) for start, end in pairwise(borders))
    return list(near.clusters(signed, folder))


def datatrove(texts: Sequence[str], settings: Settings, folder: Path) -> Clusters:
    """Blocks 1 to 3 of datatrove; the fourth only leaves out what the third has found."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.utils.hashing import HashConfig

    config = MinhashConfig(
        n_grams=settings.ngram, num_buckets=settings.buckets, hashes_per_bucket=settings.hashes_per_bucket,
        seed=settings.seed, hash_config=HashConfig(precision=settings.precision),
    )  # fmt: skip
    signatures, pairs, removed = (str(folder / name) for name in ("signatures", "pairs", "removed"))
    sign = MinhashDedupSignature(signatures, config)
    sign.word_tokenizer, sign._hash_func = Whitespace(), xxhash_of_text(settings.precision)  # noqa: SLF001
    documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
    bucket = MinhashDedupBuckets(signatures, pairs, config=config, lines_to_buffer=-1)
    cluster = MinhashDedupCluster(pairs, removed, config, save_cluster_id=True, lines_to_buffer=-1)
    stages = (([documents, sign], 1), ([bucket], settings.buckets), ([cluster], 1))
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(folder / f"{number}")).run()
    ids = np.fromfile(folder / "removed" / "000000.clusters", np.uint32).reshape(-1, 2)
    order = np.argsort(ids[:, 1], kind="stable")
    found = np.split(ids[order, 0], np.flatnonzero(np.diff(ids[order, 1])) + 1)
    return sorted(members.tolist() for members in found)


class Whitespace:
    """Words as between white space, for datatrove."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def xxhash_of_text(precision: int) -> Callable[[str], int]:
    """datatrove 0.10 hands text to xxhash, which takes only bytes from version 4 on; encoding costs it some 4 %."""
    import xxhash

    of_bytes = xxhash.xxh64_intdigest if precision == 64 else xxhash.xxh32_intdigest
    return lambda text: of_bytes(text.encode())


def timed(
    find: Callable[[Sequence[str], Settings, Path], Clusters], texts: Sequence[str]
) -> tuple[float, Clusters]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        found = find(texts, Settings(), Path(folder))
        return time.perf_counter() - began, found


def runs(texts: Sequence[str], num_runs: int) -> Iterator[tuple[float, float, Clusters]]:
    """(our seconds, datatrove's, clusters), one after the other so that both meet the same load."""
    for number in range(num_runs):
        own_s, found = timed(ours, texts)
        other_s, expected = timed(datatrove, texts)
        if found != expected:
            sys.exit(f"the clusters differ: {len(found):,} of ours, {len(expected):,} of datatrove's")
        print(
            f"run {number + 1} of {num_runs}: ours {own_s:.1f} s, datatrove {other_s:.1f} s", file=sys.stderr
        )
        yield own_s, other_s, found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer documents, one run")
    arguments = parser.parse_args()
    num_texts, num_runs = (NUM_TEXTS_QUICK, NUM_RUNS_QUICK) if arguments.quick else (NUM_TEXTS, NUM_RUNS)
    texts = make_texts(num_texts, SEED)
    _silence()
    for find in (ours, datatrove):  # imports and tables are not what is measured
        timed(find, texts[:100])
    results = list(runs(texts, num_runs))
    own_s, other_s = (statistics.median(result[side] for result in results) for side in (0, 1))
    clusters, size_mb = results[0][2], sum(len(text.encode()) for text in texts) / 1e6
    print(
        f"{num_texts:,} documents, {size_mb:.0f} MB, {len(clusters):,} equal clusters of "
        f"{sum(map(len, clusters)):,} documents",
        file=sys.stderr,
    )
    speed = row(
        "near-duplicates", "documents/s", num_texts / own_s, {"datatrove": num_texts / other_s}, FLOOR
    )
    return 0 if show("data", [speed], as_json=arguments.json) else 1


def _silence() -> None:
    """datatrove logs each block to standard error by default, which costs it time."""
    from loguru import logger

    logger.disable("datatrove")


if __name__ == "__main__":
    sys.exit(main())
