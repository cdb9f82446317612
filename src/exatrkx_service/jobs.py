"""What the workflow's scripts share."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def logged(log: str) -> Iterator[TextIO]:
    """Sends all that a job prints to its log, also what libraries print past Python.

    An error ends the job with one line on the terminal; the log has the traceback. The context
    gives the terminal, for a warning that its user is to see.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    with path.open("w", buffering=1) as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield terminal
        except Exception as error:
            traceback.print_exc()
            print(f"error: {error} (log: {path})", file=terminal)
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
