import gzip
from pathlib import Path

import pytest

from fakes_feeds import read_all, read_as_sent
from fakes_kill import prepare_and_kill
from fakes_web import Site, serve
from mainspring.data.document import Document
from mainspring.data.feeds.base import make
from mainspring.data.parse import FORMATS
from mainspring.errors import DocumentError


@pytest.fixture
def site():
    with serve(Site()) as running:
        yield running


def web(*urls: str, **settings) -> dict:
    return {"kind": "web", "urls": urls, "rate_per_s": 1_000, "allow_private": True, "name": "w", **settings}


def places(found) -> list[str]:
    """The URLs of all documents and rejections, without the host."""
    names = [each.id if isinstance(each, Document) else each.name for each in found]
    return ["/" + name.split("/", 3)[3] for name in names]


def page(*links: str) -> str:
    paragraph = "<p>Enough words of a text that anybody may read at leisure, one after the other.</p>" * 5
    return (
        f"<html><body><article>{paragraph}"
        + "".join(f'<a href="{link}">x</a>' for link in links)
        + "</article></body></html>"
    )


def test_pages_become_documents_with_their_url_and_time(site, tmp_path):
    site.add(
        "/a.md", "# Title\n\nSome *words*.", "text/markdown", Last_Modified="Wed, 01 May 2024 10:00:00 GMT"
    )
    site.add("/b", "Wörter".encode("latin-1"), "text/plain; charset=ISO-8859-1", Last_Modified="some day")
    found = read_all(web(site.url("/a.md"), site.url("/b")), tmp_path)
    assert found == [
        Document(
            id=f"w#{site.url('/a.md')}", text="Title\n\nSome words.", source="w", time="2024-05-01T10:00:00+00:00",
            meta={"format": "markdown", "title": "Title", "url": site.url("/a.md")},
        ),
        Document(id=f"w#{site.url('/b')}", text="Wörter", source="w", meta={"format": "plain", "url": site.url("/b")}),
    ]  # fmt: skip


@pytest.mark.skipif("html" not in FORMATS, reason="HTML is not among the formats that are read")
@pytest.mark.slow
def test_of_html_the_main_text_is_taken_unless_all_is_asked_for(site, tmp_path):
    body = page().replace("<article>", "<div class='cookie-banner'>We use cookies</div><article>")
    site.add("/", body, "text/html; charset=utf-8")
    (main,) = read_all(web(site.url("/")), tmp_path / "a")
    (whole,) = read_all(web(site.url("/"), is_main_text=False), tmp_path / "a")
    assert "Enough words" in main.text
    assert "We use cookies" not in main.text
    assert "We use cookies" in whole.text
    assert len(site.asked_pages()) == 1


def test_links_are_followed_as_far_as_is_set_and_only_on_the_same_host(site, tmp_path):
    site.add("/", page("/1", "/2#part", "/1", "mailto:x@y", "http://other.invalid/"), "text/html")
    site.add("/1", page("/", "/3"), "text/html")
    site.add("/2", "Two.")
    site.add("/3", page("/4"), "text/html")
    for depth, expected in ((0, ["/"]), (1, ["/", "/1", "/2"]), (2, ["/", "/1", "/2", "/3"])):
        assert places(read_all(web(site.url("/"), depth=depth), tmp_path)) == expected
    far = read_all(web(site.url("/"), depth=1, is_same_host=False), tmp_path)
    assert places(far) == ["/", "/1", "/2", "/"]
    assert far[-1].name == "w#http://other.invalid/"
    assert "not known" in far[-1].reason
    assert places(read_all(web(site.url("/"), depth=2, max_pages=2), tmp_path)) == ["/", "/1"]


def test_a_link_that_leads_to_another_host_by_a_redirect_is_not_followed(site, tmp_path):
    site.add("/", page("/away"), "text/html")
    site.add("/away", status=302, Location=site.url("/secret", "localhost"))
    site.add("/secret", "no")
    found = read_all(web(site.url("/"), depth=1), tmp_path)
    assert "which is not asked for" in found[-1].reason
    assert "/secret" not in site.asked


def test_sitemaps_list_pages_and_are_none_themselves(site, tmp_path):
    def sitemap(kind, *urls):
        return f"<{kind} xmlns='x'>" + "".join(f"<url><loc>{url}</loc></url>" for url in urls) + f"</{kind}>"

    site.add(
        "/sitemap.xml",
        sitemap("sitemapindex", site.url("/one.xml"), site.url("/two.xml.gz")),
        "application/xml",
    )
    site.add("/one.xml", sitemap("urlset", site.url("/a"), site.url("/b")), "text/xml")
    site.add(
        "/two.xml.gz",
        gzip.compress(sitemap("urlset", site.url("/b"), site.url("/c")).encode()),
        "application/gzip",
    )
    for path in "abc":
        site.add(f"/{path}", f"Page {path}.")
    found = read_all(web(site.url("/sitemap.xml")), tmp_path)
    assert [each.text for each in found] == ["Page a.", "Page b.", "Page c."]


def test_what_cannot_be_taken_is_rejected_with_its_reason_and_the_others_are_read(site, tmp_path):
    site.add("/robots.txt", "User-agent: *\nDisallow: /no")
    site.add("/good", "Good.")
    site.add("/image", b"\x89PNG", "image/png")
    site.add("/no", "x")
    site.add("/large", "x" * 2_000)
    site.add("/again", status=301, Location="/good")
    site.add("/empty", " ")
    urls = [site.url(path) for path in ("/good", "/image", "/no", "/large", "/gone", "/again", "/empty")]
    good, *rejected = read_all(web(*urls, max_bytes=1_000), tmp_path)
    assert good.text == "Good."
    told = [
        "'image/png' is not read",
        "robots.txt does not allow",
        "more than 1,000 bytes",
        "answers 404",
        "there already",
        "is empty",
    ]
    assert [part in each.reason for part, each in zip(told, rejected, strict=True)] == [True] * 6, rejected


def test_without_one_page_the_reason_is_told_and_the_next_run_tries_anew(site, tmp_path):
    with pytest.raises(DocumentError, match=r"Not one page could be fetched.*answers 404"):
        make(web(site.url("/"))).prepare(tmp_path)
    site.add("/", "There now.")
    assert [each.text for each in read_all(web(site.url("/")), tmp_path)] == ["There now."]


def test_private_addresses_are_refused_unless_they_are_allowed(site, tmp_path):
    site.add("/", "secret")
    with pytest.raises(DocumentError, match=r"127\.0\.0\.1, which is this machine"):
        make({**web(site.url("/")), "allow_private": False}).prepare(tmp_path)
    assert site.asked == []


def test_what_was_fetched_is_not_fetched_again_and_read_alike_by_workers(site, tmp_path):
    for i in range(12):
        site.add(f"/{i}", f"Page {i}. " * 20)
    settings = web(*(site.url(f"/{i}") for i in range(12)), part_bytes=500)
    first = make(settings)
    first.prepare(tmp_path)
    assert len(first.parts()) == 4
    expected = read_all({**settings, "part_bytes": 10**9, "rate_per_s": 5, "timeout_s": 9}, tmp_path)
    assert [each.text.split(".")[0] for each in expected] == [f"Page {i}" for i in range(12)]
    assert read_as_sent(first) == expected
    assert len(site.asked_pages()) == 12
    assert first.fingerprint() == make_prepared(settings, tmp_path).fingerprint()


def make_prepared(settings, folder):
    feed = make(settings)
    feed.prepare(folder)
    return feed


def test_a_page_that_was_changed_on_the_disk_is_rejected(site, tmp_path):
    site.add("/", "words")
    feed = make_prepared(web(site.url("/")), tmp_path)
    (file,) = tmp_path.glob("*/pages/*")
    file.write_text("other words")
    (found,) = [each for part in feed.parts() for each in feed.read(part)]
    assert "not what was fetched" in found.reason


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_fetches_leaves_what_the_next_one_completes(site, tmp_path):
    site.add("/", page(*(f"/{i}" for i in range(30))), "text/html")
    for i in range(30):
        site.add(f"/{i}", page(f"/more/{i}"), "text/html")
        site.add(f"/more/{i}", f"Page {i}. " * 500)
    settings = web(site.url("/"), depth=2, rate_per_s=100)
    killed = 0
    for count in (5, 24, 45):
        killed += prepare_and_kill(
            settings, tmp_path / "run", lambda bound=count: len(site.asked_pages()) >= bound
        )
    assert killed == 3
    make(settings).prepare(tmp_path / "run")
    assert len(site.asked_pages()) <= 61 + killed  # what was being fetched at a kill is fetched once more
    make(settings).prepare(tmp_path / "once")
    assert files(tmp_path / "run") == files(tmp_path / "once")
    assert len(files(tmp_path / "run")) == 61 + 2
