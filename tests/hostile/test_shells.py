"""The shell that somebody starts a run from, and the folder that it is started in."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from background import SMOKE, TWO

NOISE = {
    "PYTHIA8DATA": "/no/such/xmldoc",
    "OMP_PROC_BIND": "close",
    "OMP_PLACES": "{0}",
    "GOMP_CPU_AFFINITY": "0",
    "KMP_AFFINITY": "compact",
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MPLBACKEND": "no_such_backend",
    "TRITONSERVER_DELAY_GRPC_RESPONSE": "1000",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "grpc_proxy": "http://127.0.0.1:9",
    "all_proxy": "http://127.0.0.1:9",
    "PIP_USER": "1",
    "PYTHONOPTIMIZE": "2",
    "GIT_DIR": "/no/such/repository",
}


@pytest.fixture(scope="module")
def noisy(make_checkout, tmp_path_factory):
    """A smoke run of two options from a shell in which much is set, over HTTP."""
    foreign = tmp_path_factory.mktemp("foreign")
    for name in ("scipy", "faiss", "tritonclient"):
        (foreign / name).mkdir()
        (foreign / name / "__init__.py").write_text("raise ImportError('a foreign package')\n")
    checkout = make_checkout()
    (checkout.folder / "matplotlibrc").write_text("axes.facecolor: red\n")
    checkout.output = checkout.run(
        *("plots", "physics", *SMOKE, *TWO, "server={protocol: http}"),
        **NOISE,
        PYTHONPATH=str(foreign),
    )
    return checkout


def test_the_events_and_the_tracks_are_the_same(noisy, first_smoke):
    def hashes(checkout):
        folder = checkout.folder / "results/smoke/events/benchmark"
        manifests = [json.loads(path.read_text()) for path in folder.glob("*.json")]
        return {e: files for manifest in manifests for e, files in manifest["events"].items()}

    assert hashes(noisy) == hashes(first_smoke)
    for name in ("reference.parquet", "exatrkx/tracks.parquet", "baseline/tracks.parquet"):
        one, other = (
            pd.read_parquet(checkout.folder / "results/smoke" / name)
            for checkout in (noisy, first_smoke)
        )
        pd.testing.assert_frame_equal(one, other)


def test_nothing_failed_and_all_cores_were_there(noisy):
    summary = pd.read_csv(noisy.folder / "results/smoke/summary.csv")
    assert set(summary.option) == {"S0", "S2"}
    assert (summary.n_failed == 0).all() and not (summary.verdict == "invalid").any()
    provenance = json.loads((noisy.folder / "results/smoke/provenance.json").read_text())
    job = provenance["common"]["job"]
    assert job["affinity_after"] == job["limits"]["affinity"] == sorted(os.sched_getaffinity(0))
    for record in provenance["jobs"].values():
        found = [cpus for key, cpus in record.items() if key.startswith("job.affinities.")]
        assert found and all(cpus == sorted(os.sched_getaffinity(0)) for cpus in found)


def test_what_was_taken_away_is_recorded(noisy):
    provenance = json.loads((noisy.folder / "results/smoke/provenance.json").read_text())
    neutralised = provenance["common"]["environment"]["neutralised"]
    kept = {name for name in NOISE if "proxy" in name.lower()}
    assert {name: neutralised.get(name) for name in NOISE if name not in kept} == {
        name: value for name, value in NOISE.items() if name not in kept
    }
    assert "foreign" in neutralised["PYTHONPATH"]
    software = provenance["common"]["software"]
    assert not [name for name, version in software.items() if " from " in version]


def test_the_figures_are_the_same(noisy, first_smoke):
    for name in ("event_display", "efficiency"):
        one, other = (
            (checkout.folder / "results/smoke/figures" / f"{name}.png").read_bytes()
            for checkout in (noisy, first_smoke)
        )
        assert one == other, name


def test_it_can_be_started_from_another_folder(checkout, tmp_path):
    snakefile = ("--snakefile", str(checkout.folder / "Snakefile"))
    command = [*checkout.command(*snakefile, "S0", "--forcerun", "reference"), "--cores", "2"]
    overlay = ("--configfile", str(checkout.folder / "config" / "smoke.yaml"))
    done = subprocess.run(
        [*command, *overlay], cwd=tmp_path, capture_output=True, text=True, env=checkout.environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


def test_another_working_folder_is_refused(checkout, tmp_path):
    snakefile = ("--snakefile", str(checkout.folder / "Snakefile"))
    arguments = (*snakefile, "--directory", str(tmp_path), "--dry-run")
    overlay = ("--configfile", str(checkout.folder / "config" / "config.yaml"))
    output = checkout.run(*arguments, *overlay, fails=True)
    assert f"the workflow runs in its own folder, {checkout.folder}" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("character", "'&($;")
def test_a_checkout_whose_path_a_shell_would_misread(root, tmp_path, character):
    folder = tmp_path / f"a{character}b"
    for name in ("Snakefile", "config", "workflow", "src", "envs", "model_repo", "profiles"):
        source, target = root / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir()
            shutil.copy(source, target)
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"the path of the checkout has {character!r}" in done.stdout + done.stderr


@pytest.mark.parametrize("results", ["src", "..", ".", "config/mine"])
def test_results_on_the_checkout(checkout, results):
    output = checkout.run("--dry-run", "--config", f"results={results}", fails=True)
    assert f"results: {results} " in output and "Traceback" not in output


def test_make_installs_the_lists_whatever_pip_is_told(root, tmp_path):
    """With short lists: the same recipe, in a shell where pip would install elsewhere."""
    for name in ("Makefile", "pyproject.toml", "README.md", "tools", "src"):
        source, target = root / name, tmp_path / "checkout" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    folder = tmp_path / "checkout"
    (folder / "requirements.lock").write_text("packaging==25.0\nsetuptools==84.2.1\n")
    (folder / "requirements-no-deps.lock").write_text("tabulate==0.10.0\n")
    foreign = tmp_path / "foreign"
    (foreign / "tabulate-0.10.0.dist-info").mkdir(parents=True)
    (foreign / "tabulate-0.10.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tabulate\nVersion: 0.10.0\n"
    )
    noise = {
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "target"),
        "PYTHONPATH": str(foreign),  # pip would take its package for installed
        "PYTHONUSERBASE": str(tmp_path / "user"),
    }
    done = subprocess.run(
        ["make", f"PYTHON={sys.base_prefix}/bin/python3", ".venv/.complete"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **noise},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.glob(".venv/lib/python3*/site-packages/tabulate"))
    assert not (tmp_path / "target").exists() and not (tmp_path / "user").exists()
