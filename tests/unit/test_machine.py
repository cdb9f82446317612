import os
import subprocess
import sys

import pytest

from exatrkx_service.machine import (
    describe_commit,
    describe_machine,
    describe_software,
    module_file,
    version,
)


def git(folder, *arguments, **options):
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
    safe = ("-c", f"safe.directory={folder}")
    command = ["git", *who, *safe, "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, **options)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "file").write_text("1")
    git(folder, "add", "file")
    git(folder, "commit", "--quiet", "--message", "first")
    monkeypatch.setenv("HOME", str(tmp_path))  # no configuration of the user's own
    return folder


def test_the_commit_is_that_of_the_checkout(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert describe_commit(checkout) == {"git_commit": commit, "git_commit_unknown": None}
    (checkout / "file").write_text("2")
    assert describe_commit(checkout)["git_commit"] == f"{commit}-dirty"


def test_the_commit_is_known_also_in_somebody_elses_checkout(checkout):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    commit = git(checkout, "rev-parse", "HEAD")
    for path in [checkout, *checkout.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert describe_commit(checkout)["git_commit"] == commit


def test_the_commit_is_not_that_of_another_repository(checkout, monkeypatch):
    inner = checkout / "unpacked"
    inner.mkdir()
    described = describe_commit(inner)
    assert described["git_commit"] is None
    assert "is no checkout of its own but lies in" in described["git_commit_unknown"]
    # As a hook of git sets it, for the repository that it runs in.
    monkeypatch.setenv("GIT_DIR", str(checkout / ".git"))
    assert describe_commit(inner.parent)["git_commit"]


def test_why_the_commit_is_not_known_is_said(tmp_path, monkeypatch):
    described = describe_commit(tmp_path)
    assert described["git_commit"] is None and "not a git repository" in str(described)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_commit(tmp_path)["git_commit_unknown"] == "there is no program git"


def test_the_machine_and_the_software_are_described():
    machine = describe_machine()
    assert machine["cores"] == len(os.sched_getaffinity(0)) and machine["memory_gib"] > 0
    software = describe_software()
    assert {"python", "torch", "numpy", "scipy", "tritonclient", "pyacts"} <= set(software)
    assert not [name for name, text in software.items() if " from " in text]


def test_the_version_is_that_of_the_module_that_is_imported(tmp_path):
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text("__version__ = '0.0.1'")
    code = "import scipy; from exatrkx_service.machine import version; "
    code += "print(version('scipy', 'scipy'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"0.0.1 from {tmp_path / 'scipy' / '__init__.py'}\n"


def test_what_is_not_there_has_no_version():
    assert version("no-such-distribution", "no_such_module") is None
    assert module_file("no_such_module") is None
