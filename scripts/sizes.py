"""Hold the sizes of files and functions; report medians and the largest.

python scripts/sizes.py src tests
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
NUM_SHOWN = 3


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """(lines, place) of every function in a file, its decorators aside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.lineno} {node.name}"


def report(what: str, found: list[tuple[int, str]], limit: int) -> bool:
    """Print a summary; False if anything is over the limit."""
    found.sort(reverse=True)
    counts = [lines for lines, _ in found]
    ninth = counts[len(counts) // 10]
    largest = ", ".join(f"{place} {lines}" for lines, place in found[:NUM_SHOWN])
    print(
        f"{what}: {len(found):,}, median {statistics.median(counts):.0f} lines, nine in ten {ninth} or fewer; "
        f"largest: {largest}"
    )
    over = [(lines, place) for lines, place in found if lines > limit]
    for lines, place in over:
        print(f"{place} has {lines} lines; {limit} is the most. Split it.", file=sys.stderr)
    return not over


def main() -> int:
    folders = [Path(name) for name in sys.argv[1:]]
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if not files:
        print("No Python file was found; name folders that hold some.", file=sys.stderr)
        return 2
    sizes = [(len(path.read_text(encoding="utf-8").splitlines()), str(path)) for path in files]
    inside = [each for path in files for each in functions(path)]
    held = [report("files", sizes, MAX_FILE_LINES), report("functions", inside, MAX_FUNCTION_LINES)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
