"""How much of the text that others expect of real files is found in ours, in their order.

What is missing is mostly told in another way: docling repeats a merged cell in every row it spans and writes
formulas in LaTeX; a hyphen at the end of a line is still there in markitdown's texts of PDFs.
"""

import difflib
import os
import re
from pathlib import Path

import pytest

from mainspring.data.parse import SUFFIXES, parse
from mainspring.errors import DocumentError

DATA = Path(os.environ.get("MAINSPRING_DATA", Path(__file__).parents[4] / "shared" / "data"))
DOCLING, MARKITDOWN = DATA / "docling-docs", DATA / "markitdown-docs"
REFUSED = {
    "Strict.docx": "Strict Open XML",
    "MEDRPT-2024-PAT-3847_medical_report_scan.pdf": "only pictures",
}
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)")

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DOCLING.is_dir(), reason=f"{DOCLING} is not here; set MAINSPRING_DATA"),
]


def pairs(kind):
    """(file, the text that is expected of it)."""
    if kind == "pdf":
        expected = sorted((MARKITDOWN / "expected_outputs").glob("*.md"))
        found = [(MARKITDOWN / f"{path.stem}.pdf", path) for path in expected]
    else:
        sources = sorted((DOCLING / kind / "sources").iterdir())
        found = [(path, DOCLING / kind / "groundtruth" / f"{path.name}.md") for path in sources]
    return [(path, expected) for path, expected in found if path.exists() and expected.exists()]


def words(markdown):
    text = LINK.sub(r"\1", re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL))
    for entity, sign in {r"\_": "_", "&lt;": "<", "&gt;": ">", "&amp;": "&"}.items():
        text = text.replace(entity, sign)
    return re.findall(r"\w+", re.sub(r"[*_`~]+", "", text).casefold())


def in_order(expected, ours):
    matcher = difflib.SequenceMatcher(None, expected, ours, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


@pytest.mark.parametrize(
    ("kind", "least_files", "floor"),
    [("docx", 30, 0.90), ("html", 30, 0.95), ("md", 9, 0.99), ("pdf", 5, 0.95)],
)
def test_the_expected_words_are_found_in_their_order(kind, least_files, floor):
    found = total = 0
    files = [pair for pair in pairs(kind) if pair[0].name not in REFUSED]
    assert len(files) >= least_files
    for path, expected_path in files:
        parsed = parse(path.read_bytes(), path.name, SUFFIXES[path.suffix])
        expected = words(expected_path.read_text(encoding="utf-8"))
        matched = in_order(expected, words(parsed.text))
        found, total = found + matched, total + len(expected)
        print(f"{path.name}: {matched:,} of {len(expected):,}")
    print(f"{kind}: {found:,} of {total:,} expected words in order ({found / total:.1%})")
    assert found / total >= floor


def test_all_files_are_read_or_refused_with_a_reason_and_blocks_are_exact():
    files = [
        path
        for folder in (DOCLING, MARKITDOWN)
        for path in sorted(folder.rglob("*"))
        if path.suffix in SUFFIXES
    ]
    refused = {}
    for path in files:
        try:
            parsed = parse(path.read_bytes(), path.name, SUFFIXES[path.suffix])
        except DocumentError as error:
            refused[path.name] = str(error)
            continue
        assert "\n\n".join(parsed.text[block.start : block.end] for block in parsed.blocks) == parsed.text
    assert len(files) > 100
    reasons = REFUSED | {
        "test_mskanji.csv": "byte 0 is 0x96",
        "MEDRPT-2024-PAT-3847_medical_report_scan.md": "is empty",
    }
    assert set(refused) == set(reasons)
    assert [name for name, reason in reasons.items() if reason not in refused[name]] == []
