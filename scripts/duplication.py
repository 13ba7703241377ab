"""The part of lines that stand in a block of four lines which occurs more than once, for each folder.

python scripts/duplication.py src tests --max 3

Blank lines, comments, imports and lone brackets do not count, and indentation is ignored: a block that was
moved into another function is still the same block.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

BLOCK = 4
SKIPPED = ("#", "import ", "from ", '"""')


def lines_of(path: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines of a file that say something."""
    stripped = enumerate((line.strip() for line in path.read_text(encoding="utf-8").splitlines()), start=1)
    return [
        (number, text)
        for number, text in stripped
        if any(character.isalnum() for character in text) and not text.startswith(SKIPPED)
    ]


def repeated(folder: Path) -> tuple[int, dict[tuple[str, ...], list[str]]]:
    """How many lines a folder has that count, and where each repeated block stands."""
    total = 0
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        lines = lines_of(path)
        total += len(lines)
        for at in range(len(lines) - BLOCK + 1):
            block = lines[at : at + BLOCK]
            places[tuple(text for _, text in block)].append(
                " ".join(f"{path}:{number}" for number, _ in block)
            )
    return total, {block: found for block, found in places.items() if len(found) > 1}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--max", type=float, default=100.0, help="percent above which this fails")
    parser.add_argument("--show", action="store_true", help="print the repeated blocks")
    arguments = parser.parse_args()
    within = True
    for folder in arguments.folders:
        total, blocks = repeated(folder)
        lines = {place for found in blocks.values() for each in found for place in each.split()}
        percent = 100 * len(lines) / total if total else 0.0
        print(f"{folder}: {percent:.1f} % of {total:,} lines stand in repeated blocks of {BLOCK}")
        if arguments.show:
            for block, found in blocks.items():
                print(
                    "\n".join(["", *(each.split()[0] for each in found), *(f"    {text}" for text in block)])
                )
        within &= percent <= arguments.max
    if not within:
        print(f"More than {arguments.max} % is repeated; --show prints where.", file=sys.stderr)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
