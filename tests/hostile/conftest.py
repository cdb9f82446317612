"""What users' machines, shells and files do to a run; each case stands for its kind.

No case may end with exit 0 and a wrong number, hang, or leave a process, shared memory or folder.
"""

import signal

import pytest
from background import Run


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
