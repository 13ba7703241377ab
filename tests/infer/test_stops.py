import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.infer.stops import StopFilter


@given(st.text("ab\n", max_size=30), st.lists(st.text("ab\n", max_size=4), max_size=3), st.data())
def test_however_the_text_is_cut_it_ends_before_the_first_stop_string(text, stops, data):
    places = [text.find(stop) for stop in stops if stop and stop in text]
    filter_ = StopFilter(stops)
    shown, rest = "", text
    while rest:
        size = data.draw(st.integers(1, 5))
        shown += filter_.push(rest[:size])
        rest = rest[size:]
    assert (filter_.stopped_by is not None) == bool(places)
    shown += filter_.flush()
    if places:
        assert shown == text[: len(shown)]
        assert not any(stop in shown for stop in stops if stop)
    else:
        assert shown == text


@pytest.mark.parametrize(
    ("pushed", "shown"), [(["ab", "c"], ["a", "bc"]), (["x", "b", "b", "c"], ["x", "", "", "bbc"])]
)
def test_only_what_could_begin_a_stop_string_is_held_back(pushed, shown):
    filter_ = StopFilter(["bb!"])
    assert [filter_.push(text) for text in pushed] == shown
