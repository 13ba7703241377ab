import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.infer.blocks import SCRATCH, BlockPool
from mainspring.infer.request import EngineConfig, Request, Sequence
from mainspring.infer.scheduler import Scheduler
from mainspring.schema import Sampling

SIZE = 4


def make_sequence(length, max_tokens=4, adapter=None, first=0):
    ids = tuple((first + index) % 3 for index in range(length))
    request = Request(ids=ids, sampling=Sampling(max_tokens=max_tokens), adapter=adapter)
    return Sequence(request=request, sink=lambda output: False, seed=0, ids=list(ids))


def make_scheduler(num_blocks=16, budget=8, max_running=4):
    config = EngineConfig(
        block_size=SIZE, num_blocks=num_blocks, max_step_tokens=budget, max_running=max_running
    )
    pool = BlockPool(num_blocks)
    return Scheduler(config, pool), pool


def step(scheduler):
    """What the engine does with a plan, without a model; the sequences that ended."""
    works = scheduler.plan()
    ended = []
    for work in works:
        is_complete = work.is_complete
        scheduler.done(work)
        if is_complete:
            work.sequence.ids.append(len(work.sequence.ids) % 3)
            if work.sequence.num_generated >= work.sequence.request.sampling.max_tokens:
                scheduler.remove(work.sequence)
                ended.append(work.sequence)
    return works, ended


def check(works, scheduler, budget):
    assert sum(work.num_tokens for work in works) <= budget
    assert all(work.num_tokens > 0 for work in works)
    assert len({work.sequence.request.adapter for work in works}) <= 1
    assert len({id(work.sequence) for work in works}) == len(works)
    for sequence in scheduler.running:
        assert SCRATCH not in sequence.blocks
        assert len(sequence.blocks) * SIZE >= sequence.num_computed
    held = [block for s in scheduler.running for block in s.blocks[sum(1 for _ in s.hashes) :]]
    assert len(held) == len(set(held)), "a block that is not full is written by two"


ARRIVALS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 12), st.sampled_from(["a", "b", None]), st.integers(0, 2)),
    min_size=1,
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(ARRIVALS, st.integers(1, 16), st.integers(12, 20), st.integers(1, 5), st.integers(0, 10**6))
def test_every_sequence_ends_within_the_budget_and_all_blocks_come_back(
    arrivals, budget, num_blocks, max_running, seed
):
    scheduler, pool = make_scheduler(num_blocks, budget, max_running)
    chance = random.Random(seed)
    todo = [make_sequence(*each) for each in arrivals]
    num_left = len(todo)
    for _ in range(3000):
        if todo and chance.random() < 0.5:
            scheduler.add(todo.pop())
        elif not todo and num_left == 0:
            break
        if scheduler.running and chance.random() < 0.05:
            scheduler.remove(scheduler.running[-1])
            num_left -= 1
        works, ended = step(scheduler)
        check(works, scheduler, budget)
        assert len(scheduler.running) <= max_running
        num_left -= len(ended)
    assert num_left == 0
    assert pool.num_available == num_blocks - 1


def test_a_large_prompt_is_not_starved_by_small_ones_of_other_adapters():
    scheduler, _ = make_scheduler(num_blocks=13, budget=64)
    for _ in range(3):
        scheduler.add(make_sequence(12, max_tokens=4, adapter="small"))
    step(scheduler)
    large = make_sequence(40, adapter="large")
    scheduler.add(large)
    for _ in range(60):
        scheduler.add(make_sequence(12, max_tokens=4, adapter="small"))
        if large in step(scheduler)[1]:
            return
    raise AssertionError("the large prompt never ran")


def test_the_older_sequence_keeps_its_blocks_and_the_younger_starts_again():
    scheduler, pool = make_scheduler(num_blocks=6, budget=64)
    older, younger = make_sequence(8, max_tokens=11), make_sequence(9, max_tokens=8, first=1)
    scheduler.add(older)
    scheduler.add(younger)
    step(scheduler)
    assert [len(older.blocks), len(younger.blocks)] == [2, 3]
    step(scheduler)
    assert scheduler.running == [older]
    assert list(scheduler.waiting) == [younger]
    assert (younger.blocks, younger.num_computed) == ([], 0)
    ended = [sequence for _ in range(60) for sequence in step(scheduler)[1]]
    assert ended == [older, younger]
    assert pool.num_available == 5


def test_a_known_prefix_is_taken_over_and_at_least_one_id_is_left_to_compute():
    scheduler, _ = make_scheduler(budget=64)
    scheduler.add(make_sequence(12))
    while scheduler.running or scheduler.waiting:
        step(scheduler)
    for length, cached in ((12, 8), (13, 12), (4, 0), (5, 4)):
        sequence = make_sequence(length)
        scheduler.add(sequence)
        (work,) = scheduler.plan()
        assert (sequence.num_cached, work.num_tokens) == (cached, length - cached)
        scheduler.remove(sequence)
    other = make_sequence(13, adapter="a")
    scheduler.add(other)
    assert scheduler.plan()[0].num_tokens == 13


def test_adapters_take_turns_and_none_is_passed_over():
    scheduler, _ = make_scheduler(num_blocks=64, budget=8, max_running=8)
    for adapter in ("a", "b", None, "a", "b"):
        scheduler.add(make_sequence(3, max_tokens=50, adapter=adapter))
    order = [step(scheduler)[0][0].sequence.request.adapter for _ in range(9)]
    assert order == ["a", "b", None] * 3
