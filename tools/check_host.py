"""Says in one line what this machine lacks. Runs on any Python 3.6+, before anything is installed.

What ends the range of Pythons is nvidia-pytriton: it brings Triton's Python backend up to 3.13.
"""

import ctypes
import os
import platform
import sys
import sysconfig
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
GLIBC = "2.35"  # what the tritonserver binary was built for
CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "src"))

from exatrkx_service.environment import unsafe_character  # noqa: E402


def find_problem():
    """What keeps the benchmark from running here; None if nothing does."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        return f"needs Linux on x86-64; this is {system} on {machine}"
    character = unsafe_character(CHECKOUT)
    if character is not None:  # Snakemake gives the path of its Python to a shell as it is
        return f"needs a path without {character!r}; this is {CHECKOUT}"
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if python not in PYTHONS:
        return (
            f"needs Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}; {sys.executable} is "
            f"{platform.python_version()}; name another: make PYTHON=python{PYTHONS[0]}"
        )
    c_library = _c_library()
    if not _is_glibc(c_library, GLIBC):
        return f"needs glibc {GLIBC} or newer for the Triton server; this is {c_library}"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return f"needs venv and ensurepip of Python (Debian: apt install python{python}-venv)"
    if not _can_load(f"libpython{python}.so.1.0"):
        return f"needs libpython{python}.so.1.0 for Triton (Debian: apt install libpython{python})"
    return None


def _c_library():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "another C library"
    except (ValueError, OSError):  # musl does not know the name
        return "another C library"


def _is_glibc(c_library, oldest):
    name, _, version = c_library.partition(" ")
    return name == "glibc" and _numbers(version) >= _numbers(oldest)


def _numbers(version):
    return [int(part) for part in version.split(".")[:2]]


def _can_load(library):
    for place in (library, f"{sysconfig.get_config_var('LIBDIR')}/{library}"):
        try:
            ctypes.CDLL(place)
        except OSError:
            continue
        return True
    return False


if __name__ == "__main__":
    problem = find_problem()
    if problem:
        sys.exit("error: this benchmark " + problem)
