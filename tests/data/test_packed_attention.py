"""What the loader packs into one row is to the model what it is alone: nothing attends across a border."""

import numpy as np
import pytest
import torch

from fakes_llama import tiny_llama
from fakes_shards import write_shards
from mainspring.config import build
from mainspring.data.loader import Loader
from mainspring.data.window import LoaderConfig
from mainspring.models.attend import PackedAttend


@pytest.fixture
def row(tmp_path):
    shards = write_shards(tmp_path, [9, 14, 5, 21, 30, 11], vocab_size=96)
    config = build(LoaderConfig, {"tokens_per_row": 90, "rows_per_step": 1})
    (step,) = Loader({"one": shards}, config).steps()
    (found,) = step.rows
    assert len(found.segments) == 6
    return found


def hidden(model, ids, pos, lengths):
    with torch.no_grad():
        return model(torch.from_numpy(ids), torch.from_numpy(pos), PackedAttend(lengths))


def test_packed_segments_are_computed_as_if_alone(row):
    model = tiny_llama()
    packed = hidden(model, row.ids, row.pos, row.lengths)
    for place in row.segments:
        here = slice(place.start, place.start + place.length)
        alone = hidden(model, row.ids[here].copy(), np.arange(place.length), [place.length])
        torch.testing.assert_close(packed[here], alone, rtol=1e-5, atol=1e-5)


def test_another_segments_tokens_change_no_bit(row):
    model = tiny_llama()
    before = hidden(model, row.ids, row.pos, row.lengths)
    changed = row.segments[2]
    here = slice(changed.start, changed.start + changed.length)
    ids = row.ids.copy()
    ids[here] = (ids[here] + 7) % 90
    after = hidden(model, ids, row.pos, row.lengths)
    same = np.ones(len(ids), dtype=bool)
    same[here] = False
    assert torch.equal(before[same], after[same])
    assert not torch.equal(before[here], after[here])


def test_without_the_borders_the_segments_would_see_each_other(row):
    model = tiny_llama()
    packed = hidden(model, row.ids, row.pos, row.lengths)
    leaking = hidden(model, row.ids, row.pos, [len(row.ids)])
    behind = row.segments[1].start
    assert not torch.allclose(packed[behind:], leaking[behind:], atol=1e-2)
