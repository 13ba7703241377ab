"""The client against a real server on loopback."""

import gzip
import os
import shutil
import socket
import ssl
import subprocess
import time
import tracemalloc
import zlib
from itertools import pairwise

import pytest

from fakes_web import Site, serve
from mainspring.data.feeds.fetch import addresses
from mainspring.data.feeds.fetch.client import Client, Manners
from mainspring.errors import DocumentError

pytestmark = pytest.mark.slow

FAST = {"rate_per_s": 1_000, "timeout_s": 5}


@pytest.fixture
def site():
    with serve(Site()) as running:
        yield running


def to_loopback(host, port, **_):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def client(**manners) -> Client:
    """A client for which every name is this machine."""
    return Client(Manners(**{**FAST, "allow_private": True, **manners}), resolve=to_loopback)


def get(url: str, **manners) -> bytes:
    return client(**manners).get(url, lambda _: True).body


def fault(url: str, **manners) -> str:
    with pytest.raises(DocumentError) as caught:
        get(url, **manners)
    return str(caught.value)


def test_a_page_is_fetched_in_the_name_of_its_host(site):
    site.add("/a?x=1", "words")
    assert get(site.url("/a?x=1#part", "docs.example"), user_agent="mine/1 (me@example)") == b"words"
    assert site.hosts == [f"docs.example:{site.port}"] * 2
    assert site.agents == ["mine/1 (me@example)"] * 2


def test_this_machine_is_refused_by_default_and_nothing_is_asked(site):
    site.add("/", "secret")
    for host in ("127.0.0.1", "localhost", "127.1"):
        with pytest.raises(DocumentError, match="this machine"):
            Client(Manners(**FAST)).get(site.url("/", host), lambda _: True)
    assert site.asked == []


def test_a_name_that_changes_its_address_after_the_check_is_connected_to_at_the_checked_one(site):
    """DNS rebinding: the second answer would be the private address, but nobody asks a second time."""
    answers = ["192.0.2.1", "127.0.0.1"]
    asked = []

    def rebinding(host, port, **_):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    with pytest.raises(DocumentError, match=r"192\.0\.2\.1, which is reserved"):
        Client(Manners(**FAST), resolve=rebinding).get(site.url("/", "evil.example"), lambda _: True)
    assert (asked, site.asked) == (["evil.example"], [])

    answers[:] = ["127.0.0.1", "127.0.0.1", "10.0.0.1"]
    site.add("/", "words")
    allowed = Client(Manners(**FAST, allow_private=True), resolve=rebinding)
    assert allowed.get(site.url("/", "good.example"), lambda _: True).body == b"words"
    assert answers == ["10.0.0.1"]  # one answer for robots.txt, one for the page: none is asked for twice


def test_a_redirect_to_another_address_is_checked_anew(site, monkeypatch):
    """This machine stands for a public one here, because a test has no other; all else is as it is."""
    monkeypatch.setattr(
        addresses, "REFUSED", {k: v for k, v in addresses.REFUSED.items() if v != "this machine"}
    )
    site.add("/", status=302, Location="http://metadata.example/latest")

    def resolve(host, port, **_):
        address = "169.254.169.254" if host == "metadata.example" else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with pytest.raises(DocumentError, match=r"metadata\.example has the address 169\.254\.169\.254"):
        Client(Manners(**FAST), resolve=resolve).get(site.url("/", "a.example"), lambda _: True)
    assert site.asked == ["/robots.txt", "/"]


@pytest.mark.parametrize("location", ["ftp://a.example/x", "file:///etc/passwd", "http://ann:pw@a.example/"])
def test_a_redirect_to_what_is_no_page_is_refused(site, location):
    site.add("/", status=302, Location=location)
    assert fault(site.url("/"))
    assert site.asked_pages() == ["/"]


def test_redirects_are_followed_a_few_times_and_each_is_asked_for(site):
    for i in range(8):
        site.add(f"/{i}", status=(301, 302, 303, 307, 308)[i % 5], Location=f"/{i + 1}")
    site.add("/8", "there")
    assert get(site.url("/3")) == b"there"
    assert "more than 5 times" in fault(site.url("/0"))
    with pytest.raises(DocumentError, match="/5, which is not asked for"):
        client().get(site.url("/3"), lambda url: not url.endswith("/5"))


def test_robots_are_asked_first_and_at_every_hop(site):
    site.add("/robots.txt", "User-agent: *\nDisallow: /private\n")
    site.add("/", status=302, Location="/private/x")
    site.add("/private/x", "no")
    site.add("/ok", "yes")
    fetcher = client()
    assert fetcher.get(site.url("/ok"), lambda _: True).body == b"yes"
    for path in ("/private/x", "/"):
        with pytest.raises(DocumentError, match=r"robots\.txt does not allow"):
            fetcher.get(site.url(path), lambda _: True)
    assert site.asked == ["/robots.txt", "/ok", "/"]


@pytest.mark.parametrize(
    ("status", "is_allowed"),
    [(404, True), (403, True), (410, True), (500, False), (503, False), (429, False)],
)
def test_without_robots_all_is_allowed_and_without_an_answer_nothing(site, status, is_allowed):
    site.add("/robots.txt", status=status)
    site.add("/", "words")
    if is_allowed:
        assert get(site.url("/")) == b"words"
    else:
        assert "does not allow" in fault(site.url("/"))


def test_robots_that_break_off_allow_nothing(site):
    site.pages["/robots.txt"] = lambda handler: handler.connection.close()
    site.add("/", "words")
    assert "robots.txt cannot be asked" in fault(site.url("/"))


@pytest.mark.parametrize(
    ("robots", "rate_per_s", "least_s"), [("", 20, 0.05), ("User-agent: *\nCrawl-delay: 0.1", 1_000, 0.1)]
)
def test_two_fetches_from_a_host_are_as_far_apart_as_is_set_or_as_it_wants(site, robots, rate_per_s, least_s):
    times = []
    site.add("/robots.txt", robots)
    site.pages["/"] = lambda handler: (times.append(time.monotonic()), handler.send_error(404))
    fetcher = client(rate_per_s=rate_per_s)
    for _ in range(4):
        with pytest.raises(DocumentError, match="404"):
            fetcher.get(site.url("/"), lambda _: True)
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) == 3
    assert min(gaps) >= least_s - 0.005


def test_a_host_that_wants_a_very_long_delay_is_left_alone(site):
    site.add("/robots.txt", "User-agent: *\nCrawl-delay: 86400")
    assert "asks for 86400 s" in fault(site.url("/"))


def test_a_busy_server_is_asked_again_when_it_says(site):
    site.add("/", "later", status=503, Retry_After="0")
    assert "503" in fault(site.url("/"))
    assert len(site.asked_pages()) == 3
    site.add("/", "much later", status=429, Retry_After="3600")
    assert "429" in fault(site.url("/"))
    assert len(site.asked_pages()) == 4


def test_a_page_over_the_limit_is_refused_by_what_it_says_and_by_what_it_sends(site):
    site.add("/told", b"x" * 10_001)
    assert "more than 10,000 bytes" in fault(site.url("/told"), max_bytes=10_000)
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while len(sent) < 10_000:
            handler.wfile.write(b"x" * 10_000)
            sent.append(1)

    site.pages["/endless"] = endless
    assert "more than 10,000 bytes" in fault(site.url("/endless"), max_bytes=10_000)
    assert len(sent) < 10_000


def test_packed_pages_are_unpacked_and_a_bomb_is_never_in_memory(site):
    text = os.urandom(5_000).hex().encode()
    site.add("/gzip", gzip.compress(text[:3_000]) + gzip.compress(text[3_000:]), Content_Encoding="gzip")
    site.add("/deflate", zlib.compress(text), Content_Encoding="deflate")
    assert get(site.url("/gzip")) == get(site.url("/deflate")) == text
    site.add("/bomb", gzip.compress(b"\0" * 30_000_000), Content_Encoding="gzip")
    tracemalloc.start()
    assert "more than 1,000,000 bytes" in fault(site.url("/bomb"), max_bytes=1_000_000)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8_000_000


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        ({"Content_Encoding": "br"}, b"x", "packed as 'br'"),
        ({"Content_Encoding": "gzip"}, b"no gzip", "not packed as it says"),
        (
            {"Content_Encoding": "gzip"},
            gzip.compress(b"words" * 99, mtime=0)[:-5],
            "broke off before its packing ended",
        ),
        ({"Content-Length": "99"}, b"short", "broke off after 5 of 99 bytes"),
    ],
)
def test_what_does_not_come_whole_is_refused(site, headers, body, told):
    site.pages["/"] = (200, {name.replace("_", "-"): value for name, value in headers.items()}, body)
    if "Content-Length" in headers:
        site.pages["/"] = short_of(headers["Content-Length"], body)
    assert told in fault(site.url("/"))


def short_of(length, body):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_server_that_goes_on_slowly_but_steadily_is_left_after_the_limit(site):
    def dribble(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for i in range(200):
            handler.wfile.write(b"X-%d: y\r\n" % i)
            time.sleep(0.02)

    site.pages["/"] = dribble
    start_s = time.monotonic()
    assert "more than 0.3 s" in fault(site.url("/"), timeout_s=0.3)
    assert time.monotonic() - start_s < 3


def test_a_server_that_speaks_no_http_or_is_not_there_is_told(site):
    site.pages["/"] = lambda handler: handler.wfile.write(b"220 ready\r\n")
    assert "cannot be fetched" in fault(site.url("/"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    assert "cannot be fetched" in fault(f"http://127.0.0.1:{closed}/")


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not on the path")
    key, file = tmp_path / "key.pem", tmp_path / "cert.pem"
    name = ["-subj", "/CN=a.example", "-addext", "subjectAltName=DNS:a.example"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(file),
    ]
    subprocess.run([*command, *name], check=True, capture_output=True)
    return key, file


def test_tls_is_checked_against_the_name_and_not_the_address(certificate):
    key, file = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    with serve(Site(), wrap=lambda raw: context.wrap_socket(raw, server_side=True)) as site:
        site.add("/", "words")
        trusting = ssl.create_default_context(cafile=str(file))
        manners = Manners(**FAST, allow_private=True)
        ours = Client(manners, resolve=to_loopback, tls=trusting)
        assert ours.get(f"https://a.example:{site.port}/", lambda _: True).body == b"words"
        for fetcher, host in ((ours, "b.example"), (Client(manners, resolve=to_loopback), "a.example")):
            with pytest.raises(DocumentError, match="certificate"):
                fetcher.get(f"https://{host}:{site.port}/", lambda _: True)
