"""A few of the kills that scripts/kill_runs.py deals by the hundred."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KINDS = ("pretrain", "sft", "dpo", "grpo", "qlora")


@pytest.mark.slow
def test_killed_runs_of_every_kind_end_with_the_bytes_of_one_that_was_not():
    script, source = ROOT / "scripts" / "kill_runs.py", ROOT / "src"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "5", "--kinds", *KINDS],
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for kind in KINDS:
        assert re.search(
            rf"{kind}: 1 kills in \d runs, every end the same bytes; 3 torn files, none", done.stdout
        )
