"""Hold the sizes of files and functions, and of the engine with its door; report medians and the largest.

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
ENGINE_AND_DOOR, MAX_CODE_LINES = ("src/mainspring/infer", "src/mainspring/serve"), 8_000


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


def code_lines(path: Path) -> int:
    """Lines that are not empty, a comment or a docstring; in C++ a comment has lines of its own."""
    text = path.read_text(encoding="utf-8")
    documented: set[int] = set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text, str(path))):
            holds = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module)
            if holds and ast.get_docstring(node) is not None:
                documented.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code = (line for number, line in enumerate(text.splitlines(), 1) if number not in documented)
    return sum(bool(line.strip()) and not line.lstrip().startswith(("# ", "//")) for line in code)


def engine_holds() -> bool:
    """Print the engine's and the door's lines of code; False if they are over the limit."""
    files = [path for folder in ENGINE_AND_DOOR for path in Path(folder).rglob("*")]
    files = [path for path in files if path.suffix in {".py", ".cpp", ".h"}]
    total = sum(map(code_lines, files))
    whole = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    print(
        f"{' + '.join(ENGINE_AND_DOOR)}: {total:,} lines of code of {MAX_CODE_LINES:,}; {whole:,} with all others"
    )
    return total <= MAX_CODE_LINES


def main() -> int:
    folders = [Path(name) for name in sys.argv[1:]]
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if not files:
        print("No Python file was found; name folders that hold some.", file=sys.stderr)
        return 2
    sizes = [(len(path.read_text(encoding="utf-8").splitlines()), str(path)) for path in files]
    inside = [each for path in files for each in functions(path)]
    held = [report("files", sizes, MAX_FILE_LINES), report("functions", inside, MAX_FUNCTION_LINES)]
    held.append(engine_holds())
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
