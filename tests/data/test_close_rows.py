import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.close_rows import close_rows, fewest_rows
from mainspring.data.document import Document
from mainspring.data.loader import Loader
from mainspring.data.pack import best_fit, cut
from mainspring.data.shard import write_shards
from mainspring.data.shards import Shards
from mainspring.data.window import LoaderConfig

DATA = Path(os.environ.get("MAINSPRING_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(60, 100))
def test_no_segment_is_lost_and_no_row_too_long(lengths, max_tokens):
    for rows in (close_rows(lengths, max_tokens), fewest_rows(lengths, max_tokens)):
        assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
        assert all(row and sum(lengths[index] for index in row) <= max_tokens for row in rows)


@given(st.lists(st.integers(1, 60), max_size=80))
def test_there_are_never_more_rows_than_best_fit_has(lengths):
    assert len(fewest_rows(lengths, 60)) <= len(best_fit(lengths, 60))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_every_row_begins_with_the_longest_that_is_left_and_takes_more_while_it_can(lengths):
    left = set(range(len(lengths)))
    for row in close_rows(lengths, 60):
        longest = max(lengths[index] for index in left)
        assert longest in [lengths[index] for index in row]
        left -= set(row)
        room = 60 - sum(lengths[index] for index in row)
        assert all(lengths[index] > room for index in left)


def fewest_possible(lengths, max_tokens):
    """No packing has fewer rows than this. Martello and Toth, "Knapsack Problems", 1990, bound L2."""
    most = 0
    for small in {0, *(length for length in lengths if 2 * length <= max_tokens)}:
        alone = [length for length in lengths if length > max_tokens - small]
        large = [length for length in lengths if max_tokens < 2 * length <= 2 * (max_tokens - small)]
        rest = sum(length for length in lengths if small <= length and 2 * length <= max_tokens)
        more = rest - (len(large) * max_tokens - sum(large))
        most = max(most, len(alone) + len(large) + max(0, -(-more // max_tokens)))
    return most


DISTRIBUTIONS = {
    "pages of the web": lambda chance: chance.lognormvariate(6.5, 1.1),
    "short conversations": lambda chance: chance.lognormvariate(5, 0.6),
    "long conversations": lambda chance: chance.lognormvariate(6.5, 0.5),
    "answers of much the same length": lambda chance: chance.gauss(220, 60),
    "code": lambda chance: chance.lognormvariate(7, 1.3),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_rows_are_98_percent_full_and_hardly_more_than_any_packing_needs(name):
    chance, lengths, max_tokens = random.Random(0), [], 2048
    while sum(lengths) < 256 * max_tokens:
        drawn = max(30, int(DISTRIBUTIONS[name](chance)))
        lengths += [length for _, length in cut(drawn, max_tokens)]
    rows = fewest_rows(lengths, max_tokens)
    assert sum(lengths) / (len(rows) * max_tokens) >= 0.98
    assert len(rows) <= 1.01 * fewest_possible(lengths, max_tokens)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not beside the checkout")
@pytest.mark.parametrize("tokens_per_row", [2048, 4096])
def test_real_conversations_fill_98_percent(tmp_path, tiny_tokenizer, tokens_per_row):
    documents = []
    for line in (DATA / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:2000]:
        item = json.loads(line)
        turns = [("user", item["question"]), ("assistant", item["answer"])]
        messages = [{"role": role, "content": content} for role, content in turns]
        documents.append(Document(id=f"g{len(documents)}", text="", meta={"messages": messages}))
    report = write_shards(documents, tiny_tokenizer, tmp_path)
    loader = Loader({"gsm8k": Shards(tmp_path)}, build(LoaderConfig, {"tokens_per_row": tokens_per_row}))
    rows = [len(row.ids) for step in loader.steps() for row in step.rows]
    assert sum(rows) == report.tokens
    assert sum(rows) / (len(rows) * tokens_per_row) >= 0.98
