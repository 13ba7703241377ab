import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from fakes_documents import column, pdf, pdf_file, xlsx
from mainspring.data.parse import contained, parse
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError, MainspringError

pytestmark = pytest.mark.slow

PAGE = b"<h1>Lamp</h1><p>It turns.</p>"


def text_of(data=PAGE, format_name="html", **limits):
    return parse(data, f"d.{format_name}", format_name, limits=ParseLimits(**limits)).text


def workers():
    mine = psutil.Process().children(recursive=True)
    return {each.pid for each in mine if "mainspring.data.parse.worker" in each.cmdline()}


def is_gone(pid):
    """Whether a process has ended, buried by its parent or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def many_pages(count=4_000):
    """A small PDF whose many pages all draw the same ten thousand letters."""
    drawn = b"BT /F1 5 Tf 9 9 Td (" + b"a b c d e " * 1_000 + b") Tj ET"
    kids = b" 4 0 R" * count
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 5 0 R "
        b"/Resources << /Font << /F1 3 0 R >> >> >>"
    )
    return pdf_file(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count %d /Kids [%s] >>" % (count, kids),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            page,
            b"<< /Length %d >>\nstream\n" % len(drawn) + drawn + b"\nendstream",
        ]
    )


def test_one_worker_reads_one_document_after_the_other():
    text_of()
    before = workers()
    start = time.perf_counter()
    for _ in range(50):
        assert text_of() == "Lamp\n\nIt turns."
    assert workers() == before
    assert time.perf_counter() - start < 10


@pytest.mark.slow
def test_a_document_that_takes_too_long_is_ended_and_the_next_one_is_read():
    text_of()
    before = workers()
    start = time.perf_counter()
    with pytest.raises(DocumentError, match="takes more than 1 s of processor time"):
        text_of(many_pages(), "pdf", seconds=1)
    assert time.perf_counter() - start < 10
    assert not workers() & before
    assert text_of() == "Lamp\n\nIt turns."


@pytest.mark.slow
def test_a_document_that_needs_too_much_memory_is_refused_and_the_next_one_is_read():
    rows = [["word " * 50] * 50] * 400
    with pytest.raises(DocumentError, match="more than 200 MB of memory"):
        text_of(b"<p>" + b"<b>a</b>" * 2_000_000, "html", memory_bytes=200_000_000)
    assert text_of(xlsx(rows), "xlsx").count("word") == 50 * 50 * 400


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGABRT])
def test_a_worker_that_died_is_replaced_unseen(ending):
    text_of()
    for pid in workers():
        os.kill(pid, ending)
    assert text_of() == "Lamp\n\nIt turns."


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed(monkeypatch):
    monkeypatch.setattr(contained, "START_S", 0)
    monkeypatch.setattr(contained, "CLOCK_FACTOR", 1)
    text_of(seconds=20)
    (pid,) = workers()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DocumentError, match="was not read within 1 s"):
        text_of(seconds=1)
    assert pid not in workers()


def test_a_worker_makes_room_for_a_fresh_one_after_many_documents(monkeypatch):
    monkeypatch.setattr(contained, "MAX_DOCUMENTS", 3)
    contained._end_all()
    seen = set()
    for _ in range(7):
        text_of()
        seen |= workers()
    assert len(seen) == 3


def test_threads_have_a_worker_each():
    contained._end_all()
    barrier = threading.Barrier(3)

    def read(number):
        barrier.wait(10)
        return text_of(b"<p>Page %d</p>" % number)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(read, range(3))) == ["Page 0", "Page 1", "Page 2"]
    assert 1 <= len(workers()) <= 3


def read_in_pool(number):
    assert multiprocessing.current_process().daemon
    return text_of(b"<p>Page %d</p>" % number), contained._idle[0].process.pid


SLOW_TO_START = [pytest.param(method, marks=pytest.mark.slow) for method in ("forkserver", "spawn")]


@pytest.mark.parametrize("method", ["fork", *SLOW_TO_START])
def test_daemonic_workers_of_a_pool_have_readers_of_their_own(method):
    text_of()
    before = workers()
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(read_in_pool, range(6), chunksize=1)
    assert [text for text, _ in found] == [f"Page {number}" for number in range(6)]
    assert not {pid for _, pid in found} & before
    deadline = time.monotonic() + 10
    while not all(is_gone(pid) for _, pid in found) and time.monotonic() < deadline:
        time.sleep(0.05)  # they end when the processes they read for are gone
    assert all(is_gone(pid) for _, pid in found)
    assert text_of() == "Lamp\n\nIt turns."
    assert workers() >= before


def test_a_reader_ends_with_a_program_that_is_killed():
    program = (
        "import time\n"
        "from mainspring.data.parse import contained, parse\n"
        "parse(b'<p>a</p>', 'd.html', 'html')\n"
        "print(contained._idle[0].process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=paths) as process:
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_gone(pid)


def test_a_worker_that_cannot_start_is_our_failure_and_says_what_it_said(monkeypatch, tmp_path):
    contained._end_all()
    (tmp_path / "mainspring").mkdir()
    (tmp_path / "mainspring" / "__init__.py").touch()  # stands before the package, and is empty
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(MainspringError, match="No module named") as caught:
        text_of()
    assert not isinstance(caught.value, DocumentError)


def test_what_a_library_trips_over_is_told_with_the_documents_name():
    broken = pdf(column("Fine.")).replace(b"%PDF-", b"%XXX-")
    with pytest.raises(DocumentError, match=r"d\.pdf is no PDF"):
        text_of(broken, "pdf")
    with pytest.raises(DocumentError, match=r"d\.email cannot be read as email \(RecursionError"):
        text_of(
            b"Subject: x\n"
            + b"".join(
                b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2_000)
            ),
            "email",
        )
