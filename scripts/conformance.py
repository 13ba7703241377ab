"""Run the test suites of OpenAI's and Anthropic's Python clients against our server, as their owners wrote them.

python scripts/conformance.py SUITE --model FOLDER [--python PYTHON]     (make conformance SUITE=folder)

SUITE is a checkout of openai-python or anthropic-sdk-python; nothing of it is kept here. Every model name that the
tests use is an alias of the one that is served. The tests of the resources that are served are run; what they need
(respx, pytest-asyncio and more) must be installed beside the Python that is named.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVED = {
    "openai": (
        "chat/test_completions.py", "test_completions.py", "test_embeddings.py", "test_models.py", "test_files.py",
        "test_batches.py", "test_responses.py", "responses",
    ),
    "anthropic": ("test_messages.py", "test_models.py"),
}  # fmt: skip
START_S = 120


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="The folder of a chat model.")
    parser.add_argument("--python", default=sys.executable, help="The Python that has what the suite needs.")
    parser.add_argument("-k", default="", help="Only the tests that pytest's -k finds.")
    args = parser.parse_args()
    suite = args.suite.resolve()
    kind = "anthropic" if (suite / "src" / "anthropic").exists() else "openai"
    resources = suite / "tests" / "api_resources"
    paths = [str(resources / each) for each in SERVED[kind] if (resources / each).exists()]
    with tempfile.TemporaryDirectory() as scratch:
        return _run(args, suite, kind, paths, Path(scratch))


def _run(args: argparse.Namespace, suite: Path, kind: str, paths: list[str], scratch: Path) -> int:
    server, url = _serve(args.model, scratch / "workspace")
    try:
        environment = os.environ | {"TEST_API_BASE_URL": f"{url}/v1" if kind == "openai" else url}
        environment["PYTHONPATH"] = str(suite / "src")
        command = [
            args.python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--no-header",
            "-rf",
            "--tb=no",
            *paths,
        ]
        command += ["-k", args.k] if args.k else []
        return subprocess.run(command, cwd=suite, env=environment, check=False).returncode
    finally:
        server.terminate()
        server.wait()


def _serve(model: Path, workspace: Path) -> tuple[subprocess.Popen[str], str]:
    """Our server, on a free port, under which every model name is known."""
    command = [
        sys.executable, "-m", "mainspring", "serve", "--model", str(model), "--workspace", str(workspace),
        "--port", "0", "-o", f"aliases={{'*': '{model.resolve().stem.lower()}'}}",
    ]  # fmt: skip
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    end = time.monotonic() + START_S
    for line in server.stderr:
        if found := re.search(r"ready\s+(\S+)", line):
            return server, found[1]
        if time.monotonic() > end:
            break
    raise SystemExit("our server did not start")


if __name__ == "__main__":
    sys.exit(main())
