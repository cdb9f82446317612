"""Settings and helpers of all tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from exatrkx_service import environment
from exatrkx_service.compiled import KERNELS, NotCompiled, make
from exatrkx_service.pipeline.kernels import load

# Before torch and faiss are imported: the tests share two cores.
environment.clean(os.environ)
environment.pin(os.environ, environment.library_variables(1))

ROOT = Path(__file__).parents[1]
# What a checkout holds that a run needs; results and caches stay where they are.
NEEDED = ("Snakefile", "config", "workflow", "src", "envs", "model_repo", "profiles", "slurm")
IGNORE = shutil.ignore_patterns("__pycache__", "*.egg-info", "model.pt")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def config() -> dict:
    """The default configuration, each test's own to change."""
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


@pytest.fixture(scope="session")
def kernel_library() -> str:
    """The file of the compiled operators, known to torch."""
    try:
        library = str(make(KERNELS))
    except NotCompiled as error:
        pytest.skip(str(error))
    load(library)
    return library


class Checkout:
    """A copy of the workflow in which Snakemake can be run without touching the original."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        for name in NEEDED:
            source, target = root / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=IGNORE)
            else:
                shutil.copy2(source, target)  # with its time, as the folders

    @property
    def environment(self) -> dict[str, str]:
        # The copy's package, not the installed one, as a new checkout would have it. And a TMPDIR
        # of its own, by which its servers are told from others on this machine.
        mine = {name: value for name, value in os.environ.items() if name != environment.RECORD}
        return {**mine, "PYTHONPATH": "", "TMPDIR": str(self.temporary)}

    def servers(self) -> list[psutil.Process]:
        """The server's processes that run for this checkout, parents first."""
        return [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"].startswith(("tritonserver", "triton_python_b"))
            and any(str(self.temporary) in word for word in process.info["cmdline"] or ())
        ]

    def overlay(self, name: str, **values) -> str:
        """Writes a configuration overlay."""
        (self.folder / name).write_text(yaml.safe_dump(values))
        return name

    def touch(self, name: str) -> None:
        """Makes an empty file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def command(self, *arguments: str) -> list[str]:
        where = () if "--profile" in arguments else ("--cores", "2")
        return [str(Path(sys.executable).with_name("snakemake")), *where, *arguments]

    def run(self, *arguments: str, fails: bool = False, **environment: str) -> str:
        """Runs Snakemake; gives what it printed."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={**self.environment, **environment},
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return output


@pytest.fixture(scope="session")
def make_checkout(tmp_path_factory, root):
    return lambda: Checkout(tmp_path_factory.mktemp("checkout"), root)


@pytest.fixture(scope="session")
def first_smoke(make_checkout):
    """A checkout in which the smoke configuration has been run; it stays as it is."""
    checkout = make_checkout()
    checkout.output = checkout.run("--configfile", "config/smoke.yaml")
    return checkout


@pytest.fixture(scope="session")
def copy_of_smoke(first_smoke, make_checkout):
    """Makes a checkout with the results of that run, and Snakemake's records of it."""

    def copy():
        checkout = make_checkout()
        for name in ("results", ".snakemake"):
            shutil.copytree(first_smoke.folder / name, checkout.folder / name)
        checkout.output = first_smoke.output
        return checkout

    return copy


@pytest.fixture(scope="session")
def smoke(copy_of_smoke):
    """A checkout in which the smoke configuration has been run, and tests run it again."""
    return copy_of_smoke()
