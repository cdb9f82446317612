"""What users' machines, shells and files do to a run; each case stands for its kind.

No case may end with exit 0 and a wrong number, hang, or leave a process, shared memory or folder.
"""

import shutil
import signal

import pytest
from background import Run


@pytest.fixture(scope="session")
def copy_of_smoke(smoke, make_checkout):
    """Makes a checkout with the results of the smoke run, and Snakemake's records of it."""

    def copy():
        checkout = make_checkout()
        for name in ("results", ".snakemake", *(f"{folder}" for folder in ("model_repo",))):
            # With their times: Snakemake goes by them.
            shutil.copytree(smoke.folder / name, checkout.folder / name, dirs_exist_ok=True)
        for folder in ("Snakefile", "config", "workflow", "src"):
            for path in sorted((smoke.folder / folder).rglob("*")) or [smoke.folder / folder]:
                target = checkout.folder / path.relative_to(smoke.folder)
                if target.is_file():
                    shutil.copystat(path, target)
        return checkout

    return copy


@pytest.fixture(scope="module")
def checkout(copy_of_smoke):
    return copy_of_smoke()


@pytest.fixture
def background():
    """Starts runs that end with the test."""
    runs = []

    def start(*arguments, **environment):
        runs.append(Run(*arguments, **environment))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.signal_all(signal.SIGKILL)
            run.process.wait()
