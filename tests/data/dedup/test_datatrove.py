"""Signatures and clusters against datatrove, with the same parameters and words between white space."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.dedup.near import Near, Settings

pytest.importorskip(
    "datatrove", reason="datatrove is an opponent of benchmarks: pip install 'mainspring[bench]'"
)
from datatrove.data import Document
from datatrove.pipeline.dedup import minhash
from datatrove.utils.hashing import HashConfig

CHARACTERS = st.one_of(
    st.sampled_from("aB éñ 012٣ .,،'-\t\n\x00\x85\xa0　中\u0301ΣßİﬁÅ "),
    st.characters(exclude_categories=["Cs"]),
)
TEXTS = st.lists(st.text(CHARACTERS, max_size=60), max_size=4)
PARAMETERS = st.fixed_dictionaries(
    {
        "ngram": st.integers(1, 6),
        "buckets": st.integers(1, 5),
        "hashes_per_bucket": st.integers(1, 5),
        "seed": st.integers(0, 99),
        "precision": st.sampled_from([32, 64]),
    }
)


def of_text(precision: int) -> Callable[[str], int]:
    """datatrove hands over text, which xxhash refuses from version 4 on."""
    of_bytes = xxhash.xxh64_intdigest if precision == 64 else xxhash.xxh32_intdigest
    return lambda text: of_bytes(text.encode())


def config_of(chosen: Settings) -> minhash.MinhashConfig:
    return minhash.MinhashConfig(
        n_grams=chosen.ngram, num_buckets=chosen.buckets, hashes_per_bucket=chosen.hashes_per_bucket,
        seed=chosen.seed, hash_config=HashConfig(precision=chosen.precision),
    )  # fmt: skip


def signer(chosen: Settings, folder: Path) -> minhash.MinhashDedupSignature:
    step = minhash.MinhashDedupSignature(str(folder), config_of(chosen))
    step.word_tokenizer = SimpleNamespace(word_tokenize=str.split)
    step._hash_func = of_text(chosen.precision)
    return step


@settings(deadline=None, max_examples=80)
@given(TEXTS, PARAMETERS)
@example(["1.2.3,4 5. 6 \u0301 x", "a b", ""], {"ngram": 1})
@example(["one two three four five six seven", "Ünë twó"], {})
@pytest.mark.slow
def test_signatures_are_equal_element_by_element(tmp_path_factory: pytest.TempPathFactory, texts, parameters):
    chosen = build(Settings, parameters)
    step = signer(chosen, tmp_path_factory.mktemp("theirs"))
    ours = Near(chosen).sign(texts)
    for text, row in zip(texts, ours, strict=True):
        hashed = step.get_shingles(text)
        theirs = [*chain(*step.get_signature(hashed))] if hashed.size else [2**64 - 1] * len(row)
        assert row.tolist() == theirs


@pytest.mark.parametrize("precision", [32, 64])
def test_clusters_are_equal(tmp_path: Path, precision: int):
    random = np.random.default_rng(precision)
    texts = [" ".join(chr(ord("a") + each) for each in random.integers(0, 26, 30)) for _ in range(150)]
    texts += [text.replace("b ", "c ", 1) for text in texts[::2]] + texts[:5] + ["", "too short"]
    chosen = build(Settings, {"precision": precision, "ngram": 3, "hashes_per_bucket": 4})
    near = Near(chosen)
    found = list(near.clusters([(0, near.sign(texts))], tmp_path / "ours"))
    assert len(found) > 50
    assert found == datatrove_clusters(texts, chosen, tmp_path)


def datatrove_clusters(texts: list[str], chosen: Settings, folder: Path) -> list[list[int]]:
    signer(chosen, folder / "signatures").run(Document(text=text, id="") for text in texts)
    signatures, pairs, removed = (str(folder / name) for name in ("signatures", "pairs", "removed"))
    for bucket in range(chosen.buckets):
        buckets = minhash.MinhashDedupBuckets(signatures, pairs, config=config_of(chosen))
        buckets.run(rank=bucket, world_size=chosen.buckets)
    minhash.MinhashDedupCluster(pairs, removed, config_of(chosen), save_cluster_id=True).run()
    ids = np.fromfile(folder / "removed" / "000000.clusters", np.uint32).reshape(-1, 2)
    return sorted(ids[ids[:, 1] == each, 0].tolist() for each in np.unique(ids[:, 1]))
