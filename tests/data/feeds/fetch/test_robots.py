import re
from urllib.robotparser import RobotFileParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.feeds.fetch.robots import _fits, product, read_robots


def allows(text: str, path: str, agent: str = "mainspring") -> bool:
    return read_robots(text.encode(), agent).allows(path)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        # the examples of RFC 9309, 5.1 and 5.2, and its sections on matching
        ("User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/", "/a.gif", False),
        ("User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/", "/a.gif?x", True),
        ("User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/", "/example/x", False),
        ("User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif", "/x", True),
        ("User-Agent: *\nAllow: /example/page/\nDisallow: /example/page/no.gif", "/example/page/no.gif", False),
        ("User-Agent: *\nDisallow: /\nAllow: /a", "/a/b", True),
        ("User-Agent: *\nDisallow: /a\nAllow: /a", "/a", True),  # of two alike, the kinder one
        ("User-Agent: *\nDisallow:", "/", True),
        ("User-Agent: *\nDisallow: /", "/robots.txt", True),
        ("User-Agent: mainspring\nDisallow: /x\n\nUser-Agent: *\nDisallow: /", "/y", True),
        ("User-Agent: MainSpring/2.0 (x)\nDisallow: /x", "/x", False),
        ("User-Agent: a\nUser-Agent: mainspring\nDisallow: /x", "/x", False),
        ("User-Agent: mainspring\nAllow: /x\nAllow: /y\nUser-Agent: mainspring\nDisallow: /z", "/z", False),
        ("User-Agent: spring\nDisallow: /", "/", True),
        ("user-agent:*#all\ndisallow :/x # no", "/x", False),
        ("\ufeffUser-agent: *\r\nDisallow: /x\r\n", "/x", False),
        ("Disallow: /", "/", True),  # rules before any robot are nobody's
        ("User-Agent: *\nSitemap: /s\nDisallow: /x", "/x", False),
        ("User-Agent: *\nDisallow: /%61%2f", "/a%2Fb", False),
        ("User-Agent: *\nDisallow: /é", "/%C3%A9", False),
        ("User-Agent: *\nDisallow: /a*c$", "/abcc", False),
        ("User-Agent: *\nDisallow: /a*c$", "/abcd", True),
        ("User-Agent: *\nDisallow: /*?q=", "/x?q=1", False),
        ("", "/", True),
        ("<html>", "/", True),
    ],
)  # fmt: skip
def test_rules_are_read_as_rfc_9309_says(text, path, expected):
    assert allows(text, path) is expected


@given(
    st.lists(st.tuples(st.booleans(), st.text("ab", min_size=1, max_size=3).map("/".__add__)), max_size=4),
    st.text("ab", max_size=4).map("/".__add__),
)
def test_plain_rules_in_order_of_length_are_what_the_standard_library_reads(rules, path):
    rules = sorted(
        set(rules), key=lambda rule: (-len(rule[1]), not rule[0])
    )  # there the first one that fits decides
    text = "User-agent: *\n" + "".join(
        f"{'Allow' if kind else 'Disallow'}: {pattern}\n" for kind, pattern in rules
    )
    oracle = RobotFileParser()
    oracle.parse(text.splitlines())
    assert allows(text, path) is oracle.can_fetch("mainspring", path)


@given(st.text("ab*$", max_size=8).map("/".__add__), st.text("ab$", max_size=8).map("/".__add__))
def test_patterns_fit_what_the_regular_expression_fits(pattern, path):
    body = ".*".join(re.escape(part) for part in pattern.removesuffix("$").split("*"))
    expected = re.match(body + (r"\Z" if pattern.endswith("$") else ""), path)
    assert _fits(pattern, path) is (expected is not None)


def test_a_hostile_pattern_costs_no_time():
    assert allows("User-agent: *\nDisallow: /" + "a*" * 2_000 + "b$", "/" + "a" * 100_000)


@pytest.mark.parametrize(
    ("value", "delay_s"), [("10", 10), ("0.5", 0.5), ("-1", 0), ("x", 0), ("", 0), ("1e9", 0), ("nan", 0)]
)
def test_the_delay_between_two_fetches_is_read(value, delay_s):
    assert read_robots(f"User-agent: *\nCrawl-delay: {value}".encode(), "mainspring").delay_s == delay_s


def test_a_robot_is_called_by_the_letters_of_its_agent():
    assert product("mainspring/0.1 (+https://a.example)") == "mainspring"
