"""The library is compiled once, and a machine that cannot says so."""

import pytest

from mainspring.errors import MainspringError
from mainspring.infer.native import build
from mainspring.infer.native.build import NoCompilerError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mainspring" / "native"


def compiler(folder, body):
    """A compiler of few words."""
    path = folder / "c++"
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{body}\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_library_is_compiled_once_for_the_same_sources(tmp_path, monkeypatch, cache):
    body = 'for last; do :; done; test "$1" = --version || echo library > "$last"'
    monkeypatch.setenv("CXX", str(compiler(tmp_path, body)))
    first = build.build("native")
    assert first.read_text() == "library\n"
    made = (tmp_path / "calls").read_text().count("-shared")
    assert build.build("native") == first
    assert (tmp_path / "calls").read_text().count("-shared") == made == 1
    assert build.build("x86-64-v3") != first
    assert len(list(cache.iterdir())) == 2


def test_another_version_of_the_compiler_makes_another_library(tmp_path, monkeypatch, cache):
    body = 'for last; do :; done; test "$1" = --version && echo {} || echo library > "$last"'
    monkeypatch.setenv("CXX", str(compiler(tmp_path, body.format(1))))
    first = build.build("native")
    compiler(tmp_path, body.format(2))
    assert build.build("native") != first


def test_without_a_compiler_the_way_on_is_told(monkeypatch, tmp_path, cache):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompilerError, match="torch backend"):
        build.build("native")
    assert issubclass(NoCompilerError, MainspringError)


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, cache):
    body = 'test "$1" = --version || { echo "no such instruction" >&2; exit 1; }'
    monkeypatch.setenv("CXX", str(compiler(tmp_path, body)))
    with pytest.raises(NoCompilerError, match="no such instruction"):
        build.build("native")
    assert list(cache.iterdir()) == []
