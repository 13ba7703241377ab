from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mainspring
from mainspring.data.parse import parse
from mainspring.data.parse.base import Raw
from mainspring.data.parse.limits import ParseLimits
from mainspring.data.parse.source_code import read
from mainspring.errors import DocumentError


def blocks_of(text, name="d.py"):
    parsed = read(Raw(data=text.encode(), name=name, limits=ParseLimits()))
    assert {block.kind for block in parsed.blocks} == {"code"}
    return [parsed.text[block.start : block.end] for block in parsed.blocks]


PYTHON = '''"""About."""

import os
X = 1

# Says a.
@decorator(
    1
)
def a():
    """Doc.

    def not_this(): ...
    """


class B:
    def inner(self): ...

    def other(self): ...
print(X)
if X:
    def nested(): ...
'''


def test_python_is_cut_where_its_definitions_begin_and_end():
    assert blocks_of(PYTHON) == [
        '"""About."""\n\nimport os\nX = 1',
        '# Says a.\n@decorator(\n    1\n)\ndef a():\n    """Doc.\n\n    def not_this(): ...\n    """',
        "class B:\n    def inner(self): ...\n\n    def other(self): ...",
        "print(X)\nif X:\n    def nested(): ...",
    ]


def test_other_languages_are_cut_at_blank_lines_before_the_left_edge():
    go = "package a\n\n// Says b.\nfunc b() {\n\tx := 1\n\n\treturn x\n}\n\nfunc c() {\n\n}\n"
    assert blocks_of(go, "d.go") == [
        "package a",
        "// Says b.\nfunc b() {\n\tx := 1\n\n\treturn x\n}",
        "func c() {\n\n}",
    ]


def test_python_that_does_not_compile_is_cut_like_the_others():
    assert blocks_of("def a(:\n    x\n\ndef b(): ...\n") == ["def a(:\n    x", "def b(): ..."]


def test_the_language_is_told_by_the_suffix():
    assert parse(b"x", "src/a.py", "code").title == "a.py (Python)"
    assert parse(b"x", "src/a.RS", "code").title == "a.RS (Rust)"


def test_all_our_own_files_are_kept_character_for_character_and_cut_into_all_their_lines():
    files = sorted(Path(mainspring.__file__).parent.rglob("*.py"))
    assert len(files) > 50
    for path in files:
        text = path.read_text(encoding="utf-8").strip("\n")
        if not text:
            continue
        parsed = read(Raw(data=path.read_bytes(), name=path.name, limits=ParseLimits()))
        assert parsed.text == text
        kept = "".join(parsed.text[block.start : block.end] for block in parsed.blocks)
        assert "".join(kept.split()) == "".join(text.split())


@given(
    st.lists(
        st.sampled_from(["def a():", "  x", "", "#", "}", "// c", "\tif y {", "@d", "x = 1"]), min_size=1
    )
)
def test_no_line_is_lost_or_doubled_in_any_language(lines):
    text = "\n".join([*lines, "end"])
    for name in ("d.py", "d.c"):
        kept = [line for block in blocks_of(text, name) for line in block.split("\n") if line.strip()]
        assert kept == [line for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize(
    ("data", "reason"), [(b"\n \n", "is empty"), (b"x = '\xe9'", "byte 5 is 0xE9"), (b"\x7fELF\0\0", "NUL")]
)
def test_what_is_no_text_is_refused(data, reason):
    with pytest.raises(DocumentError, match=reason):
        parse(data, "d.py", "code")


@pytest.mark.parametrize("hostile", [b"(" * 100_000, b"-" * 500_000 + b"1", b"[" * 50_000 + b"]" * 50_000])
def test_what_the_compiler_cannot_take_is_read_all_the_same(hostile):
    assert parse(hostile, "d.py", "code").text == hostile.decode()
