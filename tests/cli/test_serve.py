"""mainspring serve, as its user starts it: what it says, and that it answers and ends."""

import shutil
import signal
import subprocess
import sys

import httpx2
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(
            ("-o", "engine.backend=native"),
            marks=pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler for the native step"),
        ),
    ],
)
def test_it_says_what_it_measures_and_how_it_would_be_faster(root, options):
    begin = "import mainspring.cli; mainspring.cli.main()"
    command = [sys.executable, "-c", begin, "serve", "--workspace", str(root), "--port", "0"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if line.startswith("ready"):
                break
        url = said[-1].split()[1]
        question = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "who?"}],
            "max_tokens": 3,
        }
        answer = httpx2.post(f"{url}/v1/chat/completions", json=question, timeout=60)
    finally:
        process.send_signal(signal.SIGINT)
        said.append(process.communicate(timeout=60)[1])
    assert answer.json()["usage"]["completion_tokens"] == 3
    text = " ".join("".join(said).split())
    assert ("kernel plan: measuring" in text) == (not options)
    assert ("-o engine.backend=native" in text) == (not options and shutil.which("g++") is not None)
    assert process.returncode == 0
