"""What is compiled here: where it is kept, and what is said where it can't be."""

import stat
from pathlib import Path

import pytest

from exatrkx_service import compiled
from exatrkx_service.compiled import (
    KERNELS,
    NotCompiled,
    compiler,
    find,
    kernel_library,
    made_by,
    make,
    make_kernels,
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Keeps what is compiled in a folder of the test."""
    monkeypatch.setattr(compiled, "_places", lambda: [tmp_path / "cache"])
    return tmp_path / "cache"


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Makes a shell script the compiler."""

    def put(text):
        path = tmp_path / "cxx"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("CXX", str(path))

    return put


COMPILES = 'for last; do :; done; [ $# = 1 ] && echo "cxx 1.2" || echo made > "$last"'


def test_a_library_is_made_once_for_its_sources(cache, use, monkeypatch):
    use(COMPILES)
    assert find(KERNELS) is None and kernel_library("auto") == ""
    said = []
    file = make(KERNELS, said.append)
    assert file.read_text() == "made\n" and made_by(file) == "cxx 1.2"
    # Another compiler, or none, changes nothing: it is there.
    use("exit 1")
    assert make(KERNELS, said.append) == find(KERNELS) == file == Path(kernel_library("compiled"))
    assert said == [
        "compiling libexatrkx_kernels.so with cxx 1.2",
        f"libexatrkx_kernels.so is there: {file}",
    ]
    assert kernel_library("torch") == ""
    monkeypatch.setattr(compiled, "torch_version", lambda: "0.1")
    assert find(KERNELS) is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", r"the C\+\+ compiler .*/cxx does not run"),
        ("echo 1; echo 'x.cpp:1: error: no' >&2; [ $# = 1 ]", ".*/cxx fails: x.cpp:1: error: no"),
        ("echo 1; [ $# = 1 ]", ".*/cxx fails: code 1"),
    ],
)
def test_a_compiler_that_fails_is_told_and_leaves_nothing(cache, use, script, reason):
    use(script)
    with pytest.raises(NotCompiled, match=f"pipeline.kernels: compiled: {reason}"):
        make_kernels("compiled")
    assert make_kernels("auto").startswith("those of torch, faiss and scipy (")
    assert make_kernels("torch") == "those of torch, faiss and scipy (pipeline.kernels: torch)"
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_without_a_compiler(cache, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    reason = r"there is no C\+\+ compiler: none of c\+\+, g\+\+, clang\+\+ on PATH"
    with pytest.raises(NotCompiled, match=reason):
        compiler()
    with pytest.raises(NotCompiled, match=reason):
        make(KERNELS)


def test_a_library_that_can_not_be_used_is_not_kept(cache, use):
    def refuse(path):
        assert path.read_text() == "made\n"
        raise NotCompiled("no use")

    use(COMPILES)
    with pytest.raises(NotCompiled, match="no use"):
        make(KERNELS, print, refuse)
    assert find(KERNELS) is None


def test_operators_that_torch_can_not_load_are_not_kept(cache, use):
    use(COMPILES)
    with pytest.raises(NotCompiled, match=r"what was compiled can't be loaded: .*too short"):
        make_kernels("compiled")
    assert make_kernels("auto").startswith("those of torch, faiss and scipy (what was compiled can")
    with pytest.raises(NotCompiled, match=r"compiled: the operators are not there for the install"):
        kernel_library("compiled")
    assert kernel_library("auto") == ""


def test_without_the_headers_of_a_package(use, monkeypatch):
    use(COMPILES)
    library = compiled.Library("x.so", "pipeline/kernels", ("no_such_package",))
    assert find(library) is None
    with pytest.raises(NotCompiled, match="the Python package no_such_package is not installed"):
        make(library)


def test_where_the_environment_can_not_be_written_it_is_the_users_cache(tmp_path, use, monkeypatch):
    use(COMPILES)
    monkeypatch.setattr(compiled.sys, "prefix", "/proc/no")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert make(KERNELS).is_relative_to(tmp_path / "home" / "exatrkx_service")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nor_here")
    with pytest.raises(NotCompiled, match=r"no folder to keep libexatrkx_kernels\.so in: /proc/no"):
        make(KERNELS)
