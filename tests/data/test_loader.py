import json
import random
import threading
import time
from collections import Counter
from itertools import islice

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_shards import hash_of, load, log_steps, other_process, read_log, write_shards, write_two
from mainspring.config import build
from mainspring.data.loader import Loader
from mainspring.data.window import Cursor, LoaderConfig
from mainspring.errors import ConfigError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("two")
    write_two(made)
    return made


def one(shards, **config):
    return Loader({"one": shards}, build(LoaderConfig, {"window_rows": 8, **config}))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=60),
    st.integers(2, 50),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_a_pass_gives_every_token_once_and_cuts_only_what_is_longer_than_a_row(
    tmp_path_factory, lengths, tokens_per_row, rows_per_step, workers
):
    shards = write_shards(tmp_path_factory.mktemp("s"), lengths, weighted=True)
    loader = one(shards, tokens_per_row=tokens_per_row, rows_per_step=rows_per_step, workers=workers)
    steps = list(loader.steps())
    rows = [row for step in steps for row in step.rows]
    assert sorted(np.concatenate([row.ids for row in rows]).tolist()) == list(range(sum(lengths)))
    assert max(len(row.ids) for row in rows) <= tokens_per_row
    assert sum(step.num_tokens for step in steps) == sum(lengths)
    pieces = Counter()
    for row in rows:
        assert row.weight.tolist() == (row.ids % 3 > 0).tolist()
        assert sum(row.lengths) == len(row.ids) == len(row.pos)
        for place in row.segments:
            here = slice(place.start, place.start + place.length)
            assert row.pos[here].tolist() == list(range(place.length))
            whole = shards.segment(place.segment)
            assert whole.document == place.document
            assert row.ids[here].tolist() == whole.ids[place.offset : place.offset + place.length].tolist()
            pieces[place.segment] += 1
    assert pieces == {index: -(-length // tokens_per_row) for index, length in enumerate(lengths)}


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_global_steps_are_the_same_for_any_number_of_ranks_and_threads(folder, ranks, workers):
    expected = [(step.number, hash_of(step.rows)) for step in load(folder).steps()]
    each = [list(load(folder, rank, ranks, workers=workers).steps()) for rank in range(ranks)]
    assert len({len(steps) for steps in each}) == 1
    joined = []
    for parts in zip(*each, strict=True):
        rows = [parts[at % ranks].rows[at // ranks] for at in range(parts[0].num_rows)]
        assert sum(len(part.rows) for part in parts) == parts[0].num_rows
        joined.append((parts[0].number, hash_of(rows)))
    assert joined == expected


@settings(max_examples=10, deadline=None)
@given(stop=st.integers(0, 40), ranks=st.sampled_from([1, 2, 3]), data=st.data())
def test_a_cursor_goes_on_exactly_on_other_ranks_too(folder, stop, ranks, data):
    steps = list(load(folder).steps())
    stop = min(stop, len(steps))
    cursor = steps[stop - 1].cursor if stop else None
    if cursor is not None:
        cursor = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(cursor))), Cursor)
    rank = data.draw(st.integers(0, ranks - 1))
    rest = list(load(folder, rank, ranks).steps(cursor))
    assert [hash_of(step.rows) for step in rest] == [hash_of(s.rows[rank::ranks]) for s in steps[stop:]]
    assert [step.cursor for step in rest] == [step.cursor for step in steps[stop:]]


def test_a_cursor_is_a_few_integers(folder):
    step = next(load(folder).steps())
    said = msgspec.to_builtins(step.cursor)
    assert said.pop("loader") == load(folder).fingerprint
    assert set(said) == {"seed", "step", "row", "drawn"}
    assert len(json.dumps(said)) < 200


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_killed_at_50_random_points_the_sequence_goes_on_exactly(folder, tmp_path, ranks):
    long = {"mix": {"passes": 60}}
    chance, kills = random.Random(ranks), 0
    logs = [tmp_path / f"rank-{rank}" for rank in range(ranks)]
    expected = [
        [(step.number, hash_of(step.rows)) for step in load(folder, rank, ranks, **long).steps()]
        for rank in range(ranks)
    ]
    while True:
        processes = [
            other_process(log_steps, folder, log, rank, ranks, long) for rank, log in enumerate(logs)
        ]
        if kills == 50:
            break
        _wait_for_growth(logs[chance.randrange(ranks)], chance.randint(1, 4))
        time.sleep(chance.random() * 0.004)
        assert all(process.is_alive() for process in processes), "done before it was killed 50 times"
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        kills += 1
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = [[(line["step"], line["hash"]) for line in read_log(log)] for log in logs]
    assert found == expected


def _wait_for_growth(log, lines):
    size = len(read_log(log))
    give_up = time.monotonic() + 60
    while len(read_log(log)) < size + lines and time.monotonic() < give_up:
        time.sleep(0.0005)


def test_seeds_and_passes_have_orders_of_their_own(folder):
    first = [hash_of(step.rows) for step in load(folder).steps()]
    assert first != [hash_of(step.rows) for step in load(folder, seed=4).steps()]
    twice = [hash_of(step.rows) for step in load(folder, mix={"passes": 2}).steps()]
    assert len(twice) > 1.9 * len(first)
    assert not set(twice[len(first) :]) & set(first)


def test_without_passes_it_never_ends(tmp_path):
    loader = one(write_shards(tmp_path, [5, 6, 7]), tokens_per_row=16, mix={"passes": 0})
    steps = list(islice(loader.steps(), 100))
    assert len(steps) == 100
    assert loader.mixture.passes(steps[-1].cursor.drawn)["one"] > 20


def test_a_curriculum_gives_the_short_ones_first(tmp_path):
    lengths = random.Random(0).sample(range(2, 102), 100)
    loader = one(write_shards(tmp_path, lengths), tokens_per_row=128, rows_per_step=1, order={"by": "length"})
    found = [place.length for step in loader.steps() for row in step.rows for place in row.segments]
    assert max(found[:30]) < min(found[-30:])


def test_losses_of_a_model_can_order_it(tmp_path):
    shards = write_shards(tmp_path, [9] * 40)
    losses = np.array([(7 * number) % 40 for number in range(40)], dtype=float)
    config = build(LoaderConfig, {"tokens_per_row": 9, "window_rows": 1, "order": {"stages": 0}})
    loader = Loader({"one": shards}, config, scores={"one": losses})
    found = [losses[place.segment] for step in loader.steps() for row in step.rows for place in row.segments]
    assert found == sorted(found)
    assert loader.fingerprint != Loader({"one": shards}, config).fingerprint


def test_the_rows_of_a_window_are_measured_without_reading_them(folder):
    loader = load(folder, window_rows=200)
    packing = loader.measure()
    rows = [row for step in loader.steps() for row in step.rows][: packing.rows]
    assert packing.tokens == sum(len(row.ids) for row in rows)
    assert packing.utilization == packing.tokens / (packing.rows * 64)
    assert packing.utilization > 0.97
    assert packing.passes == {"a": pytest.approx(1), "b": pytest.approx(1)}


def test_a_cursor_of_other_data_or_settings_is_refused(folder):
    cursor = next(load(folder).steps()).cursor
    for other in ({"seed": 4}, {"tokens_per_row": 32}, {"window_rows": 11}, {"order": {"by": "length"}}):
        with pytest.raises(ConfigError, match="The cursor is of the loader"):
            next(load(folder, **other).steps(cursor))
    assert next(load(folder, workers=0, rows_per_step=2).steps(cursor)).number == 2


def test_a_rank_that_there_is_not_and_shards_of_two_tokenizers_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="The rank is 2 of 2"):
        load(folder, 2, 2)
    datasets = {"x": write_shards(tmp_path / "x", [5]), "y": write_shards(tmp_path / "y", [5], tokenizer="t")}
    with pytest.raises(ConfigError, match="'x', which 'y' is mixed with, has counts up"):
        Loader(datasets, LoaderConfig())
    with pytest.raises(ConfigError, match="No shards were given"):
        Loader({}, LoaderConfig())


def test_a_loader_that_is_left_stops_its_threads(folder):
    steps = load(folder, mix={"passes": 0}).steps()
    next(steps)
    steps.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
