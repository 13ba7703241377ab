import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.feeds.base import KINDS, grouped, make
from mainspring.data.feeds.files import Feed
from mainspring.errors import ConfigError


def test_a_feed_is_made_by_its_kind(tmp_path):
    (tmp_path / "a.md").write_text("A")
    assert isinstance(make({"kind": "files", "path": str(tmp_path)}), Feed)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "file"}, "no kind of source 'file'.*Did you mean 'files'"),
        ({"kind": "kafka"}, f"there are {', '.join(KINDS)}"),
        ({}, "has no `kind`"),
        ({"kind": "files", "path": "x", "includes": ["*"]}, "did you mean `include`"),
        ({"kind": "rows", "path": "x", "part_bytes": 0}, "`part_bytes` is 0"),
    ],
)
def test_what_is_not_known_is_named_with_the_nearest(settings, told):
    with pytest.raises(ConfigError, match=told):
        make(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "kind": "sql",
            "url": "postgresql://u:s3cret@h/d",
        },  # the query is missing: the error shows all settings
        {"kind": "sql", "url": ["postgresql://u:s3cret@h/d"], "query": "SELECT 1", "key": "id"},
        {"kind": "sql", "url": "postgresql://u:s3cret@h/d", "query": "SELECT 1", "key": "id"},
        {"kind": "sql", "url": "postgresql://h/d?password=s3cret", "query": "SELECT 1", "key": "id"},
        {"kind": "sql", "url": "postgresql://u:s3cret@h:port/d", "query": "SELECT 1", "key": "id"},
        {"kind": "sql", "url": "mysql://u:s3cret@h/d", "query": "SELECT 1", "key": "id"},
        {"kind": "web", "urls": "http://u:s3cret@h/"},
    ],
)
def test_no_error_of_settings_repeats_a_password(settings):
    with pytest.raises(ConfigError) as caught:
        make(settings)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_groups_hold_everything_once_in_order_and_only_the_last_is_small(sizes, part_bytes):
    groups = list(grouped([(str(i), size) for i, size in enumerate(sizes)], part_bytes))
    assert [name for group in groups for name in group] == [str(i) for i in range(len(sizes))]
    weights = [sum(sizes[int(name)] for name in group) for group in groups]
    assert all(weight >= part_bytes for weight in weights[:-1])
    assert all(
        weight - sizes[int(group[-1])] < part_bytes for weight, group in zip(weights, groups, strict=True)
    )
