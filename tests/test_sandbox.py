"""Hostile programs, each of which would harm a machine that ran it as it is."""

import os
import time
from pathlib import Path

import psutil
import pytest

from mainspring import sandbox
from mainspring.errors import MainspringError
from mainspring.sandbox import Sandbox, SandboxLimits, found_isolation

isolated = pytest.mark.skipif(not found_isolation(), reason="this machine gives no namespaces")
pytestmark = pytest.mark.slow

QUICK = SandboxLimits(seconds=1.0, cpu_seconds=5)


@pytest.fixture
def box():
    return Sandbox(require_isolation=False)


def test_a_program_runs_and_its_words_and_status_come_back(box):
    result = box.run("import sys; print('né'); print('err', file=sys.stderr); sys.exit(7)")
    assert (result.exit_status, result.stdout, result.stderr) == (7, "né\n", "err\n")
    assert not result.timed_out
    assert not result.is_cut
    assert 0 < result.seconds < 5


def test_an_endless_loop_ends_by_the_clock_and_by_processor_time():
    by_clock = Sandbox(QUICK, require_isolation=False).run("while True: pass")
    assert by_clock.timed_out
    assert 1 <= by_clock.seconds < 3
    by_cpu = Sandbox(SandboxLimits(cpu_seconds=1), require_isolation=False).run("while True: pass")
    assert not by_cpu.timed_out
    assert by_cpu.exit_status in (128 + 24, 128 + 9)
    assert by_cpu.seconds < 8


def test_ten_gigabytes_are_refused(box):
    result = box.run("x = bytearray(10 << 30)")
    assert result.exit_status == 1
    assert "MemoryError" in result.stderr


def test_endless_output_ends_the_program_and_is_cut(box):
    result = box.run("while True: print('x' * 1000)")
    assert result.is_cut
    assert len(result.stdout) == box.limits.output_bytes
    assert result.seconds < 5


def test_the_environment_is_empty_and_site_packages_are_away(box, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_TEST", "hush")
    result = box.run(
        "import os\nprint(dict(os.environ))\n"
        "for p in ('/proc/1/environ', f'/proc/{os.getppid()}/environ'):\n"
        "    try: print(open(p).read())\n"
        "    except OSError as error: print(type(error).__name__)\n"
        "try:\n    import torch\nexcept ImportError: print('no torch')"
    )
    assert "hush" not in result.stdout
    assert "no torch" in result.stdout


@pytest.fixture(params=["root", "user"])
def isolated_box(request, monkeypatch):
    """The ways to be apart that this machine gives."""
    if sandbox._run("print(1)", SandboxLimits(), request.param)[0].stdout != "1\n":
        pytest.skip(f"this machine gives no namespaces to '{request.param}'")
    monkeypatch.setattr(sandbox, "found_isolation", lambda: request.param)
    return Sandbox(SandboxLimits(file_bytes=1 << 20))


def test_no_socket_reaches_anything(isolated_box):
    result = isolated_box.run(
        "import socket\n"
        "for address in (('127.0.0.1', 22), ('1.1.1.1', 53)):\n"
        "    try:\n        socket.create_connection(address, 2); print('reached')\n"
        "    except OSError as error: print('refused', error.errno)\n"
        "print([name for _, name in socket.if_nameindex()])"
    )
    assert "reached" not in result.stdout
    assert result.stdout.count("refused") == 2
    assert "eth" not in result.stdout


NAME = f"box{os.getpid()}"
NAMED = f"import ctypes; ctypes.CDLL(None).prctl(15, b'{NAME}', 0, 0, 0)\n"  # and so will be its children


def alive():
    """Processes of programs that named themselves."""
    return [each for each in psutil.process_iter(["name"]) if each.info["name"] == NAME]


BOMB = (
    NAMED
    + """
import os, time
count = 0
while True:
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        count += 1
    except OSError:
        break
print(count, flush=True)
"""
)


@isolated
def test_a_fork_bomb_is_limited_and_leaves_nothing():
    box = Sandbox(SandboxLimits(processes=10, seconds=5))
    if "the system does not count the processes of root" in box.describe().lacking:
        pytest.skip("root without a user to give the code to")
    result = box.run(BOMB)
    assert 0 < int(result.stdout) < 10
    wait_until_gone()


def wait_until_gone():
    deadline = time.monotonic() + 10
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive() == []


CHILD = (
    NAMED
    + """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    os._exit(0)
os.wait()
print('done')
"""
)


def test_a_child_that_fled_from_the_group_does_not_outlive_the_program(isolated_box):
    result = isolated_box.run(CHILD)
    assert (result.stdout, result.exit_status) == ("done\n", 0)
    assert result.seconds < 20  # the child sleeps for 30
    wait_until_gone()


def test_only_the_own_folder_can_be_written_and_only_so_much(tmp_path, isolated_box):
    tmp_path.chmod(0o777)
    target = tmp_path / "victim"
    target.write_text("mine")
    target.chmod(0o666)
    result = isolated_box.run(
        "import os\n"
        "try:\n    open('much', 'wb').write(bytes(2 << 20))\nexcept OSError as error: print('much', error.errno)\n"
        "open('some', 'w').write('x')\n"
        f"for do in (lambda: open({str(target)!r}, 'w'), lambda: os.remove({str(target)!r})):\n"
        "    try:\n        do(); print('done')\n    except OSError as error: print('denied')"
    )
    assert result.stdout.count("denied") == 2, result
    assert "done" not in result.stdout
    assert "much" in result.stdout
    assert target.read_text() == "mine"


REMOUNT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
MS_REMOUNT_BIND, NEWUSER_NEWNS = 32 | 4096, 0x10020000
print(libc.mount(None, b'/', None, MS_REMOUNT_BIND, None), os.statvfs('/').f_flag & os.ST_RDONLY)
libc.unshare(NEWUSER_NEWNS)
print(libc.mount(None, b'/', None, MS_REMOUNT_BIND, None), os.statvfs('/').f_flag & os.ST_RDONLY)
"""


def test_folders_cannot_be_made_writable_again(isolated_box):
    assert isolated_box.run(REMOUNT).stdout == "-1 1\n-1 1\n"


def test_a_program_cannot_claim_that_it_was_not_started(box):
    assert (
        box.run(
            "import os, sys; print('Operation not permitted', file=sys.stderr); os._exit(125)"
        ).exit_status
        == 125
    )


def test_a_machine_without_isolation_is_refused_or_says_what_lacks(monkeypatch):
    monkeypatch.setattr(sandbox, "found_isolation", lambda: "")
    with pytest.raises(MainspringError, match="require_isolation=False"):
        Sandbox()
    open_box = Sandbox(require_isolation=False)
    said = open_box.describe()
    assert said.isolation == ""
    assert "the network is reachable" in said.lacking
    assert open_box.run("print(1)").stdout == "1\n"


def test_what_is_promised_and_cannot_be_made_is_refused(monkeypatch):
    monkeypatch.setattr(sandbox, "_order", lambda *a, _=sandbox._order: {**_(*a), "work": "/nowhere"})
    with pytest.raises(MainspringError, match="nothing untrusted was run"):
        Sandbox(require_isolation=False).run("print(1)")


def test_nothing_is_left_of_the_folder(box):
    where = box.run("import os; print(os.getcwd())").stdout.strip()
    assert where
    assert not Path(where).exists()
