import pytest

from mainspring.errors import ConfigError
from mainspring.sandbox import SandboxLimits
from mainspring.train.rewards.unit_test import UnitTest, code_of, split_tests

TESTS = """import math
assert add(1, 2) == 3
assert add(-1, 1) == 0
def test_floats():
    assert add(0.5, math.pi) > 3
"""
GOOD = "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."


def worth(answer, **more):
    settings = {"require_isolation": False, "test_seconds": 1.0} | more
    return UnitTest(**settings)("", answer, {"tests": TESTS})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GOOD, 1.0),
        ("def add(a, b): return abs(a) + b", 2 / 3),
        ("def add(a, b): return 0 if a + b == 0 else (_ for _ in ()).throw(ValueError)", 1 / 3),
        ("def add(a, b: return", 0.0),
        ("I cannot do that.", 0.0),
        ("import os\nos._exit(0)", 0.0),
        ("raise SystemExit(0)", 0.0),
        ("print('passed ' * 99, 3)\ndef add(a, b): return 7", 1 / 3),
        ("def add(a, b):\n    while a < 0: pass\n    return a + b", 2 / 3),
        ("import os, sys\nos.dup2(3, 1)\ndef add(a, b): return sys.exit()", 0.0),
    ],
)
def test_an_answer_is_worth_the_tests_that_it_passes(answer, expected):
    assert worth(answer) == pytest.approx(expected)


@pytest.mark.slow
def test_all_or_nothing_and_the_limits_of_the_sandbox():
    assert worth(GOOD, all_or_nothing=True) == 1.0
    assert worth("def add(a, b): return abs(a) + b", all_or_nothing=True) == 0.0
    hungry = "x = bytearray(600 << 20)\ndef add(a, b): return a + b"
    assert worth(hungry) == 0.0
    assert worth(hungry, limits=SandboxLimits(memory_bytes=1 << 30, seconds=60), test_seconds=20) == 1.0


@pytest.mark.slow
def test_what_waits_for_others_is_not_what_costs_a_test():
    patient = "import time\ndef add(a, b):\n    time.sleep(1.3)\n    return a + b"
    assert (
        UnitTest(require_isolation=False, test_seconds=0.5)("", patient, {"tests": "assert add(1, 2) == 3"})
        == 1
    )


def test_the_code_is_the_last_block_or_all_there_is():
    assert code_of("```python\na\n```\nor\n```\nb\n```\n") == "b\n"
    assert code_of("```py\nnot closed") == "not closed"
    assert code_of("x = 1") == "x = 1"


def test_tests_are_the_top_level_asserts_and_test_functions():
    before, tests = split_tests(TESTS)
    assert tests == ["assert add(1, 2) == 3", "assert add(-1, 1) == 0", "test_floats()"]
    assert before.startswith("import math\n")
    assert "assert add(1" not in before


@pytest.mark.parametrize("text", ["x = 1", "def test_(", "def test_a(x): pass"])
def test_references_without_a_test_are_refused(text):
    with pytest.raises(ConfigError, match="reference's tests"):
        split_tests(text)
