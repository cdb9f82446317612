import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service import environment

SCRIPT = environment.__file__
FOREIGN = {
    "PYTHONPATH": "/foreign",
    "PYTHONHOME": "/foreign",
    "PYTHONOPTIMIZE": "2",
    "PYTHIA8DATA": "/other/xmldoc",
    "OMP_PROC_BIND": "close",
    "OMP_PLACES": "{0}",
    "GOMP_CPU_AFFINITY": "0",
    "KMP_AFFINITY": "compact",
    "OMP_NUM_THREADS": "7",
    "MKL_DEBUG_CPU_TYPE": "5",
    "ATEN_CPU_CAPABILITY": "default",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "PYTORCH_JIT": "0",
    "FAISS_OPT_LEVEL": "generic",
    "MALLOC_ARENA_MAX": "1",
    "GLIBC_TUNABLES": "glibc.malloc.check=3",
    "MPLBACKEND": "module://nothing",
    "MATPLOTLIBRC": "/foreign/matplotlibrc",
    "PIP_USER": "1",
    "PIP_TARGET": "/foreign",
    "GIT_DIR": "/foreign/.git",
    "TRITONSERVER_DELAY_GRPC_RESPONSE": "1000",
    "GRPC_VERBOSITY": "DEBUG",
    "EXATRKX_JOURNAL": "/foreign",
}
MINE = {
    "PATH": "/usr/bin",
    "HOME": "/home/me",
    "TMPDIR": "/scratch",
    "https_proxy": "http://proxy:3128",
    "CUDA_VISIBLE_DEVICES": "1",
    "LD_LIBRARY_PATH": "/driver",
    "PIP_EXTRA_INDEX_URL": "https://index",
    "PIP_CACHE_DIR": "/cache",
    "SLURM_JOB_ID": "7",
    "SNAKEMAKE_PROFILE": "slurm",
    "MKL_THREADING_LAYER": "GNU",
    "PYTHONUNBUFFERED": "1",
}


def test_what_changes_results_is_taken_away_and_recorded():
    environ = FOREIGN | MINE
    environment.clean(environ)
    assert set(FOREIGN) & set(environ) <= set(environment.PINNED)
    assert {name: environ[name] for name in MINE} == MINE
    assert {name: environ[name] for name in environment.PINNED} == environment.PINNED
    described = environment.describe(environ)
    assert described["neutralised"] == FOREIGN
    assert described["watched"] == {"LD_LIBRARY_PATH": "/driver", "CUDA_VISIBLE_DEVICES": "1"}


def test_cleaning_again_changes_nothing_and_leaves_what_was_pinned():
    environ = FOREIGN | MINE
    environment.clean(environ)
    environment.pin(environ, environment.library_variables(3) | {"PYTHONPATH": "/src"})
    before = dict(environ)
    environment.clean(environ)
    assert environ == before and environ["OMP_NUM_THREADS"] == "3"
    assert environment.describe(environ)["neutralised"] == FOREIGN


def test_a_process_inherits_the_record_and_adds_to_it():
    environ = {"OMP_PROC_BIND": "true"}
    environment.clean(environ)
    environ["KMP_BLOCKTIME"] = "0"  # set on a node of a cluster, say
    environ["OMP_NUM_THREADS"] = "2"  # as Snakemake does for each job
    environment.clean(environ)
    assert "KMP_BLOCKTIME" not in environ and "OMP_NUM_THREADS" not in environ
    taken = environment.describe(environ)["neutralised"]
    assert taken == {"OMP_PROC_BIND": "true", "KMP_BLOCKTIME": "0"}


@pytest.mark.parametrize("record", ["", "{", "[]", "null", "{}", '{"taken": 3, "pinned": 4}'])
def test_a_record_that_is_not_ours_is_none(record):
    environ = {environment.RECORD: record, "OMP_PLACES": "cores"}
    environment.clean(environ)
    assert environment.describe(environ)["neutralised"] == {"OMP_PLACES": "cores"}


@given(st.dictionaries(st.sampled_from([*FOREIGN, *MINE]), st.text(max_size=5)))
def test_nothing_unwanted_is_left_whatever_there_was(environ):
    given_ = dict(environ)
    environment.clean(environ)
    left = {k: v for k, v in environ.items() if k not in (*environment.PINNED, environment.RECORD)}
    assert left == {name: value for name, value in given_.items() if name in MINE}


def test_a_command_is_run_in_the_clean_environment():
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    command = [sys.executable, "-I", SCRIPT, sys.executable, "-c", code]
    # Python itself must start.
    foreign = {name: value for name, value in FOREIGN.items() if name != "PYTHONHOME"}
    mine = {name: value for name, value in os.environ.items() if name != environment.RECORD}
    done = subprocess.run(command, env=mine | foreign, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert set(foreign) & set(found) <= {*environment.PINNED}
    assert set(foreign) <= set(json.loads(found[environment.RECORD])["taken"])


@pytest.mark.parametrize("home", ["/proc/1", "/dev/null"])
def test_a_home_that_cannot_be_written_holds_no_cache(tmp_path, home):
    environ = {"HOME": home}
    environment.keep_cache_here(environ, str(tmp_path / "cache"))
    assert environ["XDG_CACHE_HOME"] == str(tmp_path / "cache")


def test_a_home_that_can_be_written_is_left_alone(tmp_path):
    environ = {"HOME": str(tmp_path)}
    environment.keep_cache_here(environ, "/elsewhere")
    assert environ == {"HOME": str(tmp_path)}


def test_a_command_that_is_not_there_is_named():
    command = [sys.executable, SCRIPT, "no-such-program"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: no-such-program: No such file or directory\n"


@pytest.mark.parametrize("character", " '\"&();$`|<>*?[]{}!#~\\%:\n\t")
def test_characters_that_a_shell_would_misread(character):
    assert environment.unsafe_character(f"/home/a{character}b") == character


@pytest.mark.parametrize("path", ["/home/me/exatrkx-service_2.0", "/home/müller/a+b,c@d=e", "x"])
def test_paths_that_are_fine(path):
    assert environment.unsafe_character(path) is None


def test_of_what_may_be_a_secret_the_name_alone_is_recorded():
    environ = {"GIT_TOKEN": "s3cret", "TRITON_PASSWORD": "s3cret", "GRPC_VERBOSITY": "DEBUG"}
    environment.clean(environ)
    assert environment.describe(environ)["neutralised"] == {
        "GIT_TOKEN": "(not recorded)",
        "TRITON_PASSWORD": "(not recorded)",
        "GRPC_VERBOSITY": "DEBUG",
    }
    assert "s3cret" not in repr(environ)
