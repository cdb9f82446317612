import os
import platform
import runpy
import subprocess
import sys

import pytest


@pytest.fixture
def problem(root):
    return runpy.run_path(str(root / "tools" / "check_host.py"))["problem"]


def test_this_machine_will_do(problem, root):
    assert problem() is None
    subprocess.run([sys.executable, root / "tools" / "check_host.py"], check=True)


@pytest.mark.parametrize("version", [(3, 8, 1), (3, 10, 0), (3, 14, 0)])
def test_a_wrong_python(problem, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    assert problem().startswith("needs Python 3.11, 3.12 or 3.13, found")


@pytest.mark.parametrize("library", ["glibc 2.31", "musl 1.2"])
def test_a_wrong_c_library(problem, monkeypatch, library):
    monkeypatch.setattr(os, "confstr", lambda name: library)
    assert problem() == f"needs glibc 2.35 or newer for the Triton server, found {library}"


def test_another_system(problem, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert problem().startswith("needs Linux on x86-64, found Darwin")
