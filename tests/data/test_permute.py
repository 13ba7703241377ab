import hashlib
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.permute import permute


def slowly(number, size, key):
    """The same network in Python's own integers, one number at a time."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=64).digest()
    keys = [int.from_bytes(digest[at : at + 8], "little") for at in range(0, 64, 8)]
    bits = max(2, (size - 1).bit_length())
    low_bits = bits // 2

    def mix(value):
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            value = ((value ^ (value >> 33)) * factor) % 2**64
        return value ^ (value >> 33)

    while True:
        low, high = number % 2**low_bits, number >> low_bits
        for at in range(0, 8, 2):
            low ^= mix(high ^ keys[at]) % 2**low_bits
            high ^= mix(low ^ keys[at + 1]) % 2 ** (bits - low_bits)
        number = high << low_bits | low
        if number < size:
            return number


@given(st.integers(1, 3000), st.integers(0, 2**63), st.integers(0, 9))
def test_every_place_is_taken_once(size, seed, epoch):
    order = permute(np.arange(size), size, (seed, epoch))
    assert sorted(order.tolist()) == list(range(size))


@given(st.integers(2, 2**40), st.integers(0, 2**63), st.data())
def test_the_order_is_the_networks_as_the_formula_reads(size, seed, data):
    numbers = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    found = permute(np.array(numbers), size, (seed, 1))
    assert found.tolist() == [slowly(number, size, (seed, 1)) for number in numbers]


def test_a_place_is_computed_alone_among_ten_billion():
    size = 10**10
    some = permute(np.array([0, 1, size - 1]), size, (0,))
    assert some.tolist() == [int(permute(np.array([place]), size, (0,))[0]) for place in (0, 1, size - 1)]
    assert len(set(some.tolist())) == 3
    assert all(0 <= place < size for place in some)


def test_keys_have_orders_of_their_own():
    orders = [tuple(permute(np.arange(50), 50, key)) for key in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len(set(orders)) == 4


def test_small_and_large_orders_are_as_even_as_chance():
    """Chi-square against the even distribution: 99.99 % of fair shufflers stay below the bound."""
    for size, bound in ((5, 46), (16, 313), (37, 1500)):
        counts = np.zeros((size, size))
        for key in range(1000):
            counts[np.arange(size), permute(np.arange(size), size, (key,))] += 1
        expected = 1000 / size
        assert ((counts - expected) ** 2 / expected).sum() < bound, size


def test_neighbours_do_not_stay_neighbours():
    order = permute(np.arange(100_000), 100_000, (7,))
    close = sum(abs(int(a) - int(b)) < 100 for a, b in pairwise(order))
    assert close < 400  # 200 are expected of a fair shuffle
