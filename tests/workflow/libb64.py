"""The library that perf_analyzer needs of the machine, see tests/workflow/test_agreement.py."""

import ctypes

PACKAGES = ("libb64-0d",)  # of Debian


def problem() -> str | None:
    """What keeps perf_analyzer from running on this machine; None if nothing does."""
    try:
        ctypes.CDLL("libb64.so.0d")
    except OSError:
        return f"no libb64.so.0d; install {' '.join(PACKAGES)}"
    return None
