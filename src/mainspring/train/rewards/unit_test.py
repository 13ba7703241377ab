"""How much of a program works: the answer's code with the reference's tests, run in the sandbox.

Tests are the reference's top-level `assert` statements and its functions `test_...`; its other statements are
run before each of them. Every test gets a process of its own, so that one that hangs or exits costs itself alone.

A test is limited by the processor time of its process, so that what else a machine does decides nothing; the clock
ends what waits without computing. Known limits: a test whose time is within the noise of its limit may pass or not.
Tests run in the same process as the code they test. Code that looks for the harness on the stack
can claim that it passed; what merely exits early, prints, or replaces functions of itself cannot.
"""

import ast
import math
import re
import secrets
from functools import lru_cache
from typing import Literal

from pydantic import Field

from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.sandbox import Sandbox, SandboxLimits
from mainspring.train.rewards.base import Reference, named

PATIENCE = 10
"""Seconds by the clock for each one of processor time that a test may take."""
FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
HARNESS = """
import os, resource, select, signal
answer, before, tests, seconds, patience, word = {arguments}
most = resource.getrlimit(resource.RLIMIT_CPU)[1]
seconds = min(seconds, most) if most >= 0 else seconds
passed = []
for test in tests:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1), os.dup2(nothing, 2)
        space = {{"__name__": "__main__"}}
        for text in (answer, before, test):
            exec(compile(text, "answer", "exec"), space)
        os.write(write, word)
        os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], patience)
    passed.append(bool(ready) and os.read(read, 64) == word)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
print(word.decode(), sum(passed))
"""


class UnitTest(Config):
    """The fraction of the tests that pass, or all or nothing."""

    kind: Literal["unit_test"] = "unit_test"
    all_or_nothing: bool = Field(default=False, description="1 where every test passes, 0 elsewhere")
    test_seconds: float = Field(
        default=2.0,
        gt=0,
        description="longest processor time of one test, up to the next whole second and at most "
        "`limits.cpu_seconds`; one that only waits is ended after ten times as long by the clock",
    )
    limits: SandboxLimits = Field(
        default=SandboxLimits(seconds=600),
        description="of the sandbox; `seconds` are by the clock and for all tests together, so let them be many: an "
        "answer that they end is worth 0",
    )
    require_isolation: bool = Field(default=True, description="refuse a machine that cannot cut the network")

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        before, tests = split_tests(named(reference, "tests", self.kind))
        word = secrets.token_hex(16)
        seconds = math.ceil(self.test_seconds)  # the system counts whole ones
        arguments = (code_of(answer), before, tests, seconds, PATIENCE * seconds, word.encode())
        sandbox = Sandbox(self.limits, require_isolation=self.require_isolation)
        result = sandbox.run(HARNESS.format(arguments=repr(arguments)))
        said = result.stdout.rpartition(f"{word} ")[2].strip()
        passed = int(said) / len(tests) if word in result.stdout and said.isdigit() else 0.0
        return float(passed == 1) if self.all_or_nothing else min(passed, 1.0)


def code_of(answer: str) -> str:
    """The last fenced block of an answer, or the whole where there is none."""
    blocks = FENCE.findall(answer)
    return blocks[-1] if blocks else answer


@lru_cache(maxsize=1024)
def split_tests(text: str) -> tuple[str, list[str]]:
    """What goes before every test, and the tests, each as a program of its own.

    Raises:
        ConfigError: no Python, or no test in it.

    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"The reference's tests are no Python ({error}): {text[:200]!r}") from error
    asserts = [each for each in tree.body if isinstance(each, ast.Assert)]
    before = ast.Module([each for each in tree.body if not isinstance(each, ast.Assert)], type_ignores=[])
    functions = [
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_") and not each.args.args
    ]
    tests = [*map(ast.unparse, asserts), *(f"{name}()" for name in functions)]
    if not tests:
        raise ConfigError(
            "The reference's tests hold no top-level `assert` and no function `test_...` without arguments: "
            f"{text[:200]!r}"
        )
    return ast.unparse(before), tests
