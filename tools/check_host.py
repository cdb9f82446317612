"""Says in one line what this machine lacks. Runs on any Python 3, before anything is installed."""

import os
import platform
import sys


def problem():
    """What keeps the benchmark from running here; None if nothing does."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        return "needs Linux on x86-64, found {} on {}".format(system, machine)  # noqa: UP032
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return (
            f"needs Python 3.11, 3.12 or 3.13, found {platform.python_version()}; "
            "name another: make PYTHON=python3.11"
        )
    library = os.confstr("CS_GNU_LIBC_VERSION") or "another C library"
    name, _, version = library.partition(" ")
    if name != "glibc" or tuple(int(part) for part in version.split(".")) < (2, 35):
        return "needs glibc 2.35 or newer for the Triton server, found {}".format(library)  # noqa: UP032
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return "needs Python's venv module (Debian: apt install python3-venv)"
    return None


if __name__ == "__main__":
    found = problem()
    if found:
        sys.exit("error: this benchmark " + found)
