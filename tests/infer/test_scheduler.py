import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.infer.blocks import SCRATCH
from mainspring.infer.request import EngineConfig, Request, Sequence
from mainspring.infer.scheduler import Scheduler
from mainspring.infer.waiting import MAX_PASSED
from mainspring.schema import Sampling

SIZE = 4


def make_sequence(length, max_tokens=4, first=0, **request):
    ids = tuple((first + index) % 3 for index in range(length))
    request = Request(ids=ids, sampling=Sampling(max_tokens=max_tokens), **request)
    return Sequence(request=request, sink=lambda output: False, seed=0, ids=list(ids))


def make_scheduler(num_blocks=16, budget=8, max_running=4, **more):
    config = EngineConfig(
        block_size=SIZE, num_blocks=num_blocks, max_step_tokens=budget, max_running=max_running
    )
    scheduler = Scheduler(config, **more)
    return scheduler, scheduler.pool


def next_id(sequence):
    return len(sequence.ids) % 3


class Shadow:
    """A cache that remembers, for every slot, the whole text up to the id whose keys would lie there."""

    def __init__(self, scheduler, window=None):
        self.scheduler, self.window, self.text_of = scheduler, window, {}

    def step(self):
        """What the engine and a backend do with a plan, without a model; the plan and the sequences that ended."""
        plan = self.scheduler.plan()
        for source, target in plan.copies:
            for place in range(SIZE):
                self.text_of[target, place] = self.text_of.get((source, place))
        for work in plan.works:
            self._compute(work)
        self.scheduler.done(plan, 0.01)
        return plan, [ended for work in plan.works if work.num_scored for ended in self._choose(work)]

    def _compute(self, work):
        sequence, text = work.sequence, [*work.sequence.ids[: work.sequence.num_computed], *work.ids]
        key = (sequence.request.adapter, sequence.request.salt)
        for position in range(sequence.num_computed, len(text)):
            block = sequence.blocks[position // SIZE]
            assert block != SCRATCH
            assert not self.scheduler.pool.is_shared(block), "written while others read it"
            self.text_of[block, position % SIZE] = (key, tuple(text[: position + 1]))
        seen_from = 0 if self.window is None else max(sequence.num_computed + 1 - self.window, 0)
        for position in range(seen_from, len(text)):
            slot = (sequence.blocks[position // SIZE], position % SIZE)
            assert self.text_of[slot] == (key, tuple(text[: position + 1])), "a foreign or stale block"

    def _choose(self, work):
        drafts = list(work.ids[len(work.ids) - work.num_drafts :]) if work.num_drafts else []
        for sequence in (work.sequence, *self.scheduler.fork(work.sequence)):
            for draft in [*drafts, None]:
                expected = next_id(sequence)
                sequence.ids.append(expected)
                if sequence.num_generated >= sequence.request.sampling.max_tokens:
                    self.scheduler.remove(sequence)
                    yield sequence
                    break
                if draft != expected:
                    break
                self.scheduler.computed(sequence, 1)
            drafts = []


def check(plan, scheduler, budget):
    assert plan.num_tokens <= budget
    assert all(work.ids for work in plan.works)
    assert len({id(work.sequence) for work in plan.works}) == len(plan.works)
    for sequence in scheduler.running:
        assert len(sequence.blocks) * SIZE >= sequence.num_computed


ARRIVALS = st.lists(
    st.tuples(
        st.integers(1, 30), st.integers(1, 12), st.sampled_from(["a", None]), st.integers(0, 2),
        st.integers(0, 1), st.sampled_from(["", "t", "u"]), st.integers(0, 3),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    arrivals=ARRIVALS, budget=st.integers(1, 16), num_blocks=st.integers(12, 20), max_running=st.integers(1, 5),
    window=st.sampled_from([None, 5]), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_every_sequence_ends_reads_its_own_text_alone_and_all_blocks_come_back(
    arrivals, budget, num_blocks, max_running, window, seed
):
    chance = random.Random(seed)

    def guess(sequences, tempo):
        for each in sequences:
            left = each.request.sampling.max_tokens - each.num_generated - 1
            right = [(len(each.ids) + ahead) % 3 for ahead in range(max(min(left, 4), 0))]
            each.guess = [token_id if chance.random() < 0.8 else 7 for token_id in right]

    scheduler, pool = make_scheduler(num_blocks, budget, max_running, window=window, guess=guess)
    shadow = Shadow(scheduler, window)
    todo = []
    for length, max_tokens, adapter, first, priority, tenant, num_followers in arrivals:
        request = {"adapter": adapter, "priority": priority, "tenant": tenant}
        leader = make_sequence(length, max_tokens, first, **request)
        leader.followers = [make_sequence(length, max_tokens, first, **request) for _ in range(num_followers)]
        todo.append(leader)
    num_left = sum(1 + len(each.followers) for each in todo)
    for _ in range(5000):
        if todo and chance.random() < 0.5:
            scheduler.add(todo.pop())
        elif not todo and num_left == 0:
            break
        open_ones = list(scheduler)
        if open_ones and chance.random() < 0.05:
            scheduler.remove(chance.choice(open_ones))
            num_left -= 1
        plan, ended = shadow.step()
        check(plan, scheduler, budget)
        assert len(scheduler.running) <= max_running
        num_left -= len(ended)
    assert num_left == 0
    assert pool.num_available == num_blocks - 1


def run_out(scheduler, shadow=None, limit=500):
    """Step until nothing is left; the sequences in the order in which they ended."""
    shadow, ended = shadow or Shadow(scheduler), []
    for _ in range(limit):
        ended += shadow.step()[1]
        if not scheduler.running and not len(scheduler.waiting):
            return ended
    raise AssertionError("the scheduler never came to an end")


def test_a_large_prompt_is_not_starved_by_small_ones():
    scheduler, _ = make_scheduler(num_blocks=13, budget=64)
    shadow = Shadow(scheduler)
    for _ in range(3):
        scheduler.add(make_sequence(12, salt="small"))
    shadow.step()
    large = make_sequence(40, first=1)
    scheduler.add(large)
    for index in range(80):
        scheduler.add(make_sequence(12, salt=f"small-{index}"))
        if large in shadow.step()[1]:
            return
    raise AssertionError("the large prompt never ran")


def test_the_older_sequence_keeps_its_blocks_and_the_younger_starts_again():
    scheduler, pool = make_scheduler(num_blocks=6, budget=64)
    older, younger = make_sequence(8, max_tokens=11), make_sequence(9, max_tokens=8, first=1)
    scheduler.add(older)
    scheduler.add(younger)
    shadow = Shadow(scheduler)
    shadow.step()
    assert [len(older.blocks), len(younger.blocks)] == [2, 3]
    shadow.step()
    assert scheduler.running == [older]
    assert list(scheduler.waiting) == [younger]
    assert (younger.blocks, younger.num_computed) == ([], 0)
    assert scheduler.stats.num_preemptions == 1
    ended = [sequence for _ in range(60) for sequence in shadow.step()[1]]
    assert ended == [older, younger]
    assert pool.num_available == 5


def test_a_known_prefix_is_taken_over_and_at_least_one_id_is_left_to_compute():
    scheduler, _ = make_scheduler(budget=64)
    scheduler.add(make_sequence(12))
    run_out(scheduler)
    for length, cached in ((12, 8), (13, 12), (4, 0), (5, 4)):
        sequence = make_sequence(length)
        scheduler.add(sequence)
        (work,) = scheduler.plan().works
        assert (sequence.num_cached, len(work.ids)) == (cached, length - cached)
        scheduler.remove(sequence)
    for other in (make_sequence(13, adapter="a"), make_sequence(13, salt="mine")):
        scheduler.add(other)
        assert len(scheduler.plan().works[0].ids) == 13
        scheduler.remove(other)


def test_a_prefix_that_this_very_step_computes_is_waited_for_and_shared():
    scheduler, _ = make_scheduler(num_blocks=64, budget=64, max_running=8)
    sequences = [make_sequence(18, max_tokens=1) for _ in range(6)]
    for sequence in sequences:
        scheduler.add(sequence)
    run_out(scheduler)
    assert sorted(sequence.num_cached for sequence in sequences) == [0, 16, 16, 16, 16, 16]


def test_followers_share_the_prompt_and_copy_the_block_that_they_write_to():
    scheduler, pool = make_scheduler(num_blocks=64, budget=64, max_running=8)
    leader = make_sequence(10, max_tokens=3)
    leader.followers = [make_sequence(10, max_tokens=3) for _ in range(3)]
    scheduler.add(leader)
    shadow = Shadow(scheduler)
    assert shadow.step()[0].num_tokens == 10
    plan, _ = shadow.step()
    assert len(plan.copies) == 3, "the last of the four keeps the block"
    assert len({tuple(work.sequence.blocks[:2]) for work in plan.works}) == 1
    assert pool.num_used == 2 + 4
    assert len(run_out(scheduler, shadow)) == 4


def test_higher_priorities_go_first_and_prompts_of_others_wait():
    scheduler, _ = make_scheduler(num_blocks=64, budget=64, max_running=1)
    low, high = make_sequence(5, first=0), make_sequence(6, first=1, priority=1)
    scheduler.add(low)
    scheduler.add(high)
    assert run_out(scheduler) == [high, low]


def test_a_tenant_with_few_requests_does_not_wait_behind_one_with_many():
    scheduler, _ = make_scheduler(num_blocks=64, budget=64, max_running=1)
    many = [make_sequence(8, tenant="many", salt=str(index)) for index in range(6)]
    for sequence in many:
        scheduler.add(sequence)
    few = make_sequence(8, tenant="few")
    shadow = Shadow(scheduler)
    ended = shadow.step()[1]
    scheduler.add(few)
    ended += run_out(scheduler, shadow)
    assert ended.index(few) == 1


def test_a_tenant_that_comes_back_starts_level_with_the_others():
    scheduler, _ = make_scheduler(num_blocks=64, budget=64, max_running=1)
    for index in range(5):
        scheduler.add(make_sequence(8, tenant="steady", salt=str(index)))
    shadow = Shadow(scheduler)
    for _ in range(9):
        shadow.step()
    late = [make_sequence(8, tenant="late", salt=f"late-{index}") for index in range(4)]
    for sequence in late:
        scheduler.add(sequence)
    order = [sequence.request.tenant for sequence in run_out(scheduler, shadow)]
    assert order[:6] != ["late"] * 4 + ["steady"] * 2, "the newcomer was given credit for its absence"
    assert "late" in order[:3]


def test_the_longest_known_prefix_goes_first_but_nobody_is_passed_over_for_ever():
    scheduler, _ = make_scheduler(num_blocks=64, budget=64, max_running=1)
    shadow = Shadow(scheduler)
    scheduler.add(make_sequence(13, max_tokens=1))
    run_out(scheduler, shadow)
    unknown, known = make_sequence(13, max_tokens=1, salt="x"), make_sequence(13, max_tokens=1)
    scheduler.add(unknown)
    scheduler.add(known)
    assert run_out(scheduler, shadow) == [known, unknown]
    unknown = make_sequence(13, max_tokens=1, salt="y")
    unknown.num_passed = MAX_PASSED
    scheduler.add(make_sequence(13, max_tokens=1))
    scheduler.add(unknown)
    assert run_out(scheduler, shadow)[0] is unknown


def test_a_follower_does_not_write_over_a_block_that_is_known_by_what_its_leader_wrote():
    def guess(sequences, tempo):
        for each in sequences:
            left = each.request.sampling.max_tokens - each.num_generated - 1
            each.guess = [(len(each.ids) + ahead) % 3 for ahead in range(left)]

    scheduler, _ = make_scheduler(guess=guess)
    shadow = Shadow(scheduler)
    leader, follower = make_sequence(1, max_tokens=SIZE), make_sequence(1, max_tokens=SIZE)
    leader.followers = [follower]
    scheduler.add(leader)
    shadow.step()
    scheduler.add(make_sequence(SIZE + 1))
    run_out(scheduler, shadow)


def test_prompts_do_not_hold_up_those_who_decode():
    scheduler, _ = make_scheduler(num_blocks=4000, budget=4096, max_running=8)
    shadow = Shadow(scheduler)
    scheduler.add(make_sequence(4, max_tokens=500))
    for _ in range(5):
        shadow.step()
    scheduler.tempo._token_s = 0.001  # a prompt token takes a tenth of a decoding step, which takes 0.01 s
    scheduler.add(make_sequence(400, salt="long"))
    plan = scheduler.plan()
    assert plan.num_tokens == 1 + 20


def test_blocks_behind_the_window_are_given_back():
    scheduler, pool = make_scheduler(num_blocks=16, budget=64, window=6)
    sequence = make_sequence(4, max_tokens=40)
    scheduler.add(sequence)
    shadow = Shadow(scheduler, window=6)
    most = 0
    for _ in range(39):
        shadow.step()
        most = max(most, pool.num_used)
    assert most <= 3
    assert sequence.blocks[:8] == [SCRATCH] * 8
