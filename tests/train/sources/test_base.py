from hypothesis import given
from hypothesis import strategies as st

from mainspring.train.sources.base import order


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 5))
def test_a_pass_visits_every_item_once_and_the_same_way_each_time(num_items, seed, epoch):
    indices = order(num_items, seed, epoch)
    assert sorted(indices) == list(range(num_items))
    assert indices == order(num_items, seed, epoch)


def test_passes_and_seeds_have_orders_of_their_own():
    orders = [tuple(order(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
