import time
from contextlib import suppress
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.feeds.fetch.urls import is_sitemap, links, normal, places
from mainspring.errors import DocumentError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://A.Example:80/x#part", "http://a.example/x"),
        ("https://a.example:443", "https://a.example/"),
        ("https://a.example:8443/", "https://a.example:8443/"),
        ("http://bücher.example/ä?q=ö b", "http://xn--bcher-kva.example/%C3%A4?q=%C3%B6%20b"),
        ("http://[::1]:8000/", "http://[::1]:8000/"),
        ("http://a.example./", "http://a.example/"),
        ("http://a.example/a%20b", "http://a.example/a%20b"),
    ],
)
def test_urls_have_one_form(url, expected):
    assert normal(url) == expected
    assert normal(expected) == expected


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/", "file:///etc/passwd", "javascript:alert(1)", "a.example", "", "http://", "http:///x",
        "http://u:p@a.example/", "http://a.example:99999/", "http://a b/", "http://a\\@b/", "http://[::1/",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_page_is_refused(url):
    with pytest.raises(DocumentError):
        normal(url)


def test_a_refused_url_does_not_show_its_password():
    with pytest.raises(DocumentError) as caught:
        normal("http://ann:s3cret@a.example/")
    assert "s3cret" not in str(caught.value)


class Oracle(HTMLParser):
    def __init__(self, base):
        super().__init__()
        self.base, self.found = base, []

    def handle_starttag(self, tag, attrs):
        href = dict(attrs[::-1]).get("href")
        if tag == "a" and href:
            with suppress(DocumentError):
                self.found.append(normal(urljoin(self.base, href.strip())))


LINK = st.tuples(
    st.sampled_from([
        "<a href=", '<A class="x y" HREF = ', "<a\n  href=", "<area href=", "<a data-href='no' href=", "<link href=",
    ]),
    st.text("abc/.?=&", min_size=1, max_size=6).map("/".__add__),
    st.sampled_from(["{}", '"{}"', "'{}'"]),
)  # fmt: skip


@given(st.lists(LINK, max_size=6))
def test_links_are_those_that_a_parser_finds(found):
    page = "".join(f"<p>{start}{quote.format(path)} >text</a>" for start, path, quote in found)
    oracle = Oracle("http://a.example/dir/page")
    oracle.feed(page)
    assert links(page.encode(), "http://a.example/dir/page") == list(dict.fromkeys(oracle.found))


def test_links_are_seen_from_the_base_and_others_than_pages_are_left_out():
    page = b"""<base href="/other/"><a href="x&amp;y">1</a><a href="mailto:a@b">2</a><a href='#top'>3</a>
    <a name="n">4</a><a href="//b.example/z">5</a>"""
    assert links(page, "http://a.example/dir/") == [
        "http://a.example/other/x&y", "http://a.example/other/", "http://b.example/z",
    ]  # fmt: skip


def test_a_hostile_page_costs_no_time():
    for piece in (b"<a ", b"<a href", b"<a href=", b'<a href="', b"<base ", b"<loc>", b"<a" + b" " * 5_000):
        page = piece * (300_000 // len(piece))
        start_s = time.process_time()
        assert len(links(page, "http://a.example/")) < 3
        assert places(page) == []
        assert time.process_time() - start_s < 2


def test_sitemaps_are_recognised_and_their_places_read():
    sitemap = b'<?xml version="1.0"?><urlset xmlns="x"><url><loc> http://a.example/1?a=1&amp;b=2 </loc></url><url><loc><![CDATA[http://a.example/2]]></loc></url></urlset>'
    assert is_sitemap(sitemap)
    assert places(sitemap) == ["http://a.example/1?a=1&b=2", "http://a.example/2"]
    assert is_sitemap(b"<sm:sitemapindex >")
    assert not is_sitemap(b"<html><p>urlset")
