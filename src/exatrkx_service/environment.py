"""The environment of every job, of the server and of make: this is the one place that cleans it.

Variables of the shell that somebody starts a run from change what libraries compute, how fast, and
even which libraries are loaded. They are taken away before that, and what was taken is recorded in
the provenance of each measurement. Runs on any Python 3.6+ and imports nothing, for ``make`` uses
it before anything is installed::

    python src/exatrkx_service/environment.py COMMAND [ARGUMENT ...]
"""

import fnmatch
import json
import os
import re
import sys

RECORD = "EXATRKX_ENVIRONMENT"  # environment variable: what was taken and pinned, as JSON
# What nobody's shell may decide.
UNWANTED = (
    # Which Python packages are loaded, and how Python runs.
    *("PYTHON*", "PIP_*", "GIT_*"),
    # Which cores, how many threads, which instructions, which precision.
    *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "GOTO_*", "BLIS_*"),
    *("VECLIB_*", "NUMEXPR_*"),
    *("NPY_*", "ATEN_*", "TORCH*", "PYTORCH_*", "FAISS_*", "DNNL_*", "ONEDNN_*", "NVIDIA_TF32_*"),
    *("CUBLAS_*", "CUDNN_*", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS"),
    # How memory is allocated.
    *("MALLOC_*", "GLIBC_TUNABLES"),
    # What the server and its clients do besides their work.
    *("TRITON*", "GRPC_*", "EXATRKX_*"),
    # What the events are made with.
    *("PYTHIA8*", "LHAPDF*", "ACTS_*"),
    # What figures look like.
    *("MPL*", "MATPLOTLIB*"),
)
# Of these, what changes no result: where pip finds packages, how Python is watched, which threading
# layer of MKL a conda environment needs, certificates.
HARMLESS = (
    *("PIP_*INDEX*", "PIP_FIND_LINKS", "PIP_*CERT", "PIP_TRUSTED_HOST", "PIP_PROXY"),
    *("PIP_CACHE_DIR",),
    *("PIP_NO_CACHE_DIR", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT", "PIP_RETRIES", "PIP_CONFIG_FILE"),
    *("PIP_DISABLE_PIP_VERSION_CHECK", "PIP_KEYRING_PROVIDER", "PIP_NO_INPUT", "PIP_NO_COLOR"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER"),
    *("GIT_SSL_*", "GIT_SSH*", "GIT_CONFIG_NOSYSTEM", "GIT_ASKPASS", "GIT_PAGER", "GIT_EDITOR"),
    *("MKL_THREADING_LAYER", "MKL_INTERFACE_LAYER", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"),
    RECORD,
)
# What may be a secret: that it was taken away is recorded, and not its value.
SECRET = ("*TOKEN*", "*SECRET*", "*PASSW*", "*CREDENTIAL*", "*AUTH*", "*_KEY")
# Left as they are, for a machine may need them, but recorded: they decide what is loaded, or used.
WATCHED = ("LD_PRELOAD", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
PINNED = {
    "PYTHONNOUSERSITE": "1",  # packages in the user's home are not those of the environment
    "PYTHONUTF8": "1",  # files are read alike in every locale
    "MPLBACKEND": "agg",
    "PIP_USER": "0",  # a configuration file of pip may say otherwise
}
# What Snakemake sets for each job, after the user's have been taken away.
_SNAKEMAKES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)
# Snakemake, make, the server and virtual environments give paths to a shell, or cut lists of them
# at colons; of what they would misread nothing may be in a path.
_UNSAFE = re.compile(r"[^\w\-+.,@=/]")


def clean(environ):
    """Takes the unwanted variables away and pins others; called again, it changes nothing.

    Args:
        environ: of this process, ``os.environ``, or a copy; changed in place.
    """
    in_a_job = RECORD in environ
    record = _record(environ)
    for name in sorted(environ):
        if not is_wanted(name) and environ[name] != record["pinned"].get(name):
            value = environ.pop(name)
            if not (in_a_job and name in _SNAKEMAKES):
                record["taken"][name] = "(not recorded)" if _matches(name, SECRET) else value
    environ[RECORD] = json.dumps(record)
    pin(environ, PINNED)


def cleaned(environ):
    """A clean copy of an environment, see ``clean``."""
    copy = dict(environ)
    clean(copy)
    return copy


def pin(environ, variables):
    """Sets variables that ``clean`` leaves in place, also in the processes started from here."""
    record = _record(environ)
    record["pinned"].update(variables)
    environ.update(variables)
    environ[RECORD] = json.dumps(record)


def _record(environ):
    """What was ``taken`` away and what was ``pinned``, here and in those who started this one."""
    try:
        record = json.loads(environ[RECORD])
        return {key: dict(record[key]) for key in ("taken", "pinned")}
    except (KeyError, ValueError, TypeError):  # the first one; or not ours
        return {"taken": {}, "pinned": {}}


def is_wanted(name):
    """Whether a variable may stay."""
    return _matches(name, HARMLESS) or not _matches(name, UNWANTED)


def _matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def describe(environ):
    """What stands of the environment in the provenance: ``neutralised`` and ``watched``."""
    watched = {name: environ[name] for name in WATCHED if environ.get(name)}
    return {"neutralised": _record(environ)["taken"], "watched": watched}


def library_variables(threads):
    """Variables by which the numerical libraries compute alike on both sides.

    Each gets ``threads`` intra-op threads, and cuBLAS a workspace with which the same product has
    the same bits whatever else the GPU does (https://docs.nvidia.com/cuda/cublas, "Results
    reproducibility"). The libraries read them when they are loaded, so they must be set before
    torch or faiss is imported; the client and the server get the same ones.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables = {name: str(threads) for name in names}
    variables["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    return variables


def unsafe_character(path):
    """The first character of a path that a shell, or a list of paths, would misread; or None."""
    found = _UNSAFE.search(str(path))
    return found.group() if found else None


def keep_cache_here(environ, folder):
    """Lets programs keep their cache in a folder where the user's home can't be written.

    Snakemake makes one in the home before it looks at the workflow, and ends if it can't.
    """
    home = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "/"), ".cache")
    try:
        os.makedirs(home, exist_ok=True)
        writable = os.access(home, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        environ["XDG_CACHE_HOME"] = os.path.abspath(folder)


if __name__ == "__main__":
    clean(os.environ)
    keep_cache_here(os.environ, os.path.join(".snakemake", "cache"))
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"error: {sys.argv[1]}: {error.strerror}")
