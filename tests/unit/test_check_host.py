import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.specifiers import SpecifierSet


@pytest.fixture
def check_host(root):
    spec = importlib.util.spec_from_file_location("check_host", root / "tools" / "check_host.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_this_machine_will_do(root):
    command = [sys.executable, root / "tools" / "check_host.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "name, value, problem",
    [
        ("machine", "aarch64", "needs Linux on x86-64; this is Linux on aarch64"),
        ("system", "Darwin", "needs Linux on x86-64; this is Darwin on x86_64"),
    ],
)
def test_another_platform(check_host, monkeypatch, name, value, problem):
    monkeypatch.setattr(platform, name, lambda: value)
    assert check_host.find_problem() == problem


@pytest.mark.parametrize("character", " '&($;")
def test_a_checkout_whose_path_a_shell_would_misread(root, tmp_path, character):
    """Refused by `make` as well, before anything is installed."""
    folder = tmp_path / f"my{character}work"
    for name in ("Makefile", "tools/check_host.py", "src/exatrkx_service/environment.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    for name in ("requirements.lock", "requirements-no-deps.lock", "pyproject.toml"):
        (folder / name).touch()
    # Of the make that may run these tests.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        ["make", "run"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    expected = f"error: this benchmark needs a path without {character!r}; this is {folder}\n"
    assert done.stderr.startswith(expected)
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("version", [(3, 10, 1), (3, 14, 0), (4, 0, 0)])
def test_another_python(check_host, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    problem = check_host.find_problem()
    assert problem.startswith("needs Python 3.11, 3.12 or 3.13; ")
    assert "\n" not in problem


@pytest.mark.parametrize("c_library", ["glibc 2.34", "glibc 2.9", "another C library"])
def test_an_old_c_library(check_host, monkeypatch, c_library):
    monkeypatch.setattr(check_host, "_c_library", lambda: c_library)
    expected = f"needs glibc 2.35 or newer for the Triton server; this is {c_library}"
    assert check_host.find_problem() == expected


@pytest.mark.parametrize("c_library", ["glibc 2.35", "glibc 2.40", "glibc 3.0"])
def test_a_new_c_library(check_host, monkeypatch, c_library):
    monkeypatch.setattr(check_host, "_c_library", lambda: c_library)
    assert check_host.find_problem() is None


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_without_venv(check_host, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert "-venv)" in check_host.find_problem()


def test_without_libpython(check_host, monkeypatch):
    monkeypatch.setattr(check_host, "_can_load", lambda library: False)
    assert "libpython3." in check_host.find_problem()
    monkeypatch.undo()
    assert not check_host._can_load("libnothing-of-this-name.so.1")


def test_the_failure_is_one_line_and_an_exit_code(root):
    code = (
        "import platform, runpy; platform.machine = lambda: 'riscv64'; "
        "runpy.run_path('tools/check_host.py', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: this benchmark needs Linux on x86-64; this is Linux on riscv64\n"
    )


def test_the_package_allows_every_python_of_the_check(root, check_host):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    allowed = SpecifierSet(project["requires-python"])
    assert all(f"{version}.0" in allowed for version in check_host.PYTHONS)


def test_reads_on_an_old_python(root):
    source = (root / "tools" / "check_host.py").read_text()
    compile(source, "check_host.py", "exec", dont_inherit=True)
    import ast

    ast.parse(source, feature_version=(3, 6))
