from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mainspring.infer.blocks import SCRATCH, BlockPool, chain, root

NUM_BLOCKS = 8


def test_the_name_of_a_block_depends_on_all_before_it_the_model_the_adapter_and_the_salt():
    roots = [root("m", None, ""), root("n", None, ""), root("m", "a", ""), root("m", None, "a")]
    first = chain(roots[0], [1, 2])
    names = [
        first,
        chain(first, [1, 2]),
        chain(roots[0], [1, 3]),
        *(chain(each, [1, 2]) for each in roots[1:]),
    ]
    assert len(set(names)) == len(names)
    assert chain(roots[0], (1, 2)) == first


def test_the_least_recently_used_block_goes_first_and_a_sequence_goes_from_its_end():
    pool = BlockPool(5)
    one, two = pool.take(2), pool.take(2)
    for index, block in enumerate(one + two):
        pool.name(block, bytes([index]))
    pool.release(one)
    pool.release(two)
    assert pool.find(b"\x00") == one[0]
    assert pool.take(4) is None
    assert pool.take(3) == [one[1], two[1], two[0]]


class Pool(RuleBasedStateMachine):
    """The pool beside a plain account of who holds what."""

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(NUM_BLOCKS)
        self.held: list[int] = []
        self.names: dict[int, bytes] = {}
        self.idle: list[int] = []

    @rule(count=st.integers(0, 3))
    def take(self, count):
        blocks = self.pool.take(count)
        assert (blocks is None) == (len(set(self.held)) + count > NUM_BLOCKS - 1)
        for block in blocks or ():
            assert block != SCRATCH
            assert block not in self.held
            if block in self.idle:
                assert block == self.idle[0], "not the least recently used"
                assert len(set(self.held)) + len(self.idle) == NUM_BLOCKS - 1, "an empty block was left"
                self.idle.remove(block)
                del self.names[block]
            self.held.append(block)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), name=st.binary(min_size=1, max_size=1))
    def name(self, data, name):
        block = data.draw(st.sampled_from(self.held))
        self.pool.name(block, name)
        if block not in self.names and name not in self.names.values():
            self.names[block] = name

    @rule(name=st.binary(min_size=1, max_size=1))
    def find(self, name):
        assert self.pool.has(name) == (name in self.names.values())
        if self.pool.has(name):
            block = self.pool.find(name)
            assert self.names[block] == name
            self.held.append(block)
            if block in self.idle:
                self.idle.remove(block)

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def find_known(self, data):
        self.find(data.draw(st.sampled_from(sorted(self.names.values()))))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def share(self, data):
        block = data.draw(st.sampled_from(self.held))
        self.pool.share([block])
        self.held.append(block)
        assert self.pool.is_shared(block)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        block = data.draw(st.sampled_from(self.held))
        self.held.remove(block)
        self.pool.release([SCRATCH, block])
        if block not in self.held and block in self.names:
            self.idle.append(block)

    @invariant()
    def references_are_counted(self):
        assert self.pool._references == [self.held.count(block) for block in range(NUM_BLOCKS)]
        assert self.pool.num_available == NUM_BLOCKS - 1 - len(set(self.held))

    def teardown(self):
        self.pool.release(self.held)
        assert self.pool.num_available == NUM_BLOCKS - 1


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
