"""What the workflow's scripts share."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from exatrkx_service.signals import end_with_snakemake, signals_as_exit


@contextlib.contextmanager
def logged(log: str) -> Iterator[Callable[[str], None]]:
    """Runs a job: it ends with its Snakemake, and all that it prints goes to its log.

    Also what libraries print past Python. An error ends the job with one line on the terminal; the
    log has the traceback. The context gives a function that prints to the log and to the terminal,
    for what the user is to see.
    """
    end_with_snakemake()
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)

    def tell(text: str) -> None:
        for file in (sys.stdout, terminal):
            print(text, file=file)

    with path.open("w", buffering=1) as file, signals_as_exit():
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield tell
        except Exception as error:
            traceback.print_exc()
            print(f"error: {error} (log: {path})", file=terminal)
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
