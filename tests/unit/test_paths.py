import copy
import shutil
import subprocess

import pytest
import yaml

from exatrkx_service.config import ConfigError, load_config
from exatrkx_service.options import NETWORKS
from exatrkx_service.paths import OWN, check_paths, finder_files


@pytest.fixture
def checkout(tmp_path, root):
    """A folder with the overlays of the workflow, and the shipped networks."""
    folder = tmp_path / "checkout"
    (folder / "config").mkdir(parents=True)
    for file in (root / "config").glob("*.yaml"):
        (folder / "config" / file.name).write_bytes(file.read_bytes())
    shipped = folder / "src/exatrkx_service/models/weights"
    shipped.mkdir(parents=True)
    for stage in NETWORKS:
        (shipped / f"{stage}.safetensors").touch()
    return folder


def check(checkout, config, **changes):
    for key, value in changes.items():
        section = config[key] if isinstance(value, dict) else None
        config[key] = {**section, **value} if section is not None else value
    check_paths(load_config(config, "mine"), checkout)


def message(checkout, config, **changes):
    with pytest.raises(ConfigError) as caught:
        check(checkout, config, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_default_passes(checkout, config):
    check(checkout, config)


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("no/such/folder", "snakemake train"),
        ("results/models", "snakemake train"),
        ("results/tiny/models", "snakemake train --configfile config/tiny.yaml"),
        ("results/mine/models", "snakemake train --config results=results/mine"),
    ],
)
@pytest.mark.parametrize("kind", ["none", "one", "folder"])
def test_networks_that_are_not_there_are_named_with_what_makes_them(
    checkout, config, folder, command, kind
):
    missing = "embedding"
    if kind != "none":
        (checkout / folder).mkdir(parents=True)
        (checkout / folder / "embedding.safetensors").touch()
        missing = "filtering"
    if kind == "folder":
        (checkout / folder / "filtering.safetensors").mkdir()
    config["results"] = "results/other"
    expected = f"{folder}/{missing}.safetensors: no such file; expected a folder with the networks"
    for key, changes in (
        ("pipeline.weights", {"pipeline": {"weights": folder}}),
        ("physics.methods.new.weights", {"physics": {"methods": {"new": {"weights": folder}}}}),
    ):
        text = message(checkout, load_config(config, "mine"), **changes)
        assert text.startswith(f"{key}: {expected}")
        assert text.endswith(f"as made by `{command}`")


@pytest.mark.parametrize(
    ("source", "path", "good"),
    [
        ("acts", "results/events/imported", False),
        ("acts", "link/events/imported", False),
        ("acts", "results/events/benchmark", True),
        ("acts", ".", True),
        ("colliderml", ".", False),
        ("colliderml", "elsewhere", True),
    ],
)
def test_events_are_not_read_where_they_are_written(checkout, config, source, path, good):
    (checkout / "results").mkdir()
    (checkout / "link").symlink_to("results")
    for section, folder in (("events", "imported"), ("train", "imported_train")):
        place = path.replace("imported", folder)
        changes = {section: {"source": source, "path": place}}
        if good:
            check(checkout, copy.deepcopy(config), **changes)
        else:
            text = message(checkout, copy.deepcopy(config), **changes)
            assert text.startswith(f"{section}.path: {place}: the events that are read would lie")


def test_networks_of_others_are_there(checkout, config):
    models = {"gnn": {"file": "theirs.pt"}}
    for key, changes in (
        ("pipeline", {"pipeline": {"models": models}}),
        ("physics.methods.new", {"physics": {"methods": {"new": {"models": models}}}}),
    ):
        text = message(checkout, load_config(config, "mine"), **changes)
        assert text == (
            f"{key}.models.gnn.file: theirs.pt: no such file; expected one of TorchScript, "
            "torch.export (.pt2) or ONNX (.onnx)"
        )
    (checkout / "theirs {x}.pt").touch()
    braces = {"models": {"gnn": {"file": "theirs {x}.pt"}}}
    text = message(checkout, load_config(config, "mine"), pipeline=braces)
    assert text.startswith("pipeline.models.gnn.file: theirs {x}.pt: braces in its name, which")
    (checkout / "theirs.pt").touch()
    (checkout / "two").mkdir()
    for name in ("embedding", "filtering"):
        (checkout / "two" / f"{name}.safetensors").touch()
    # What is replaced need not be in the folder.
    check(checkout, config, pipeline={"weights": "two", "models": models})


def test_networks_in_whose_place_there_are_cuts_need_not_be_there(checkout, config):
    (checkout / "one").mkdir()
    (checkout / "one" / "gnn.safetensors").touch()
    cuts = {"embedding": {}, "filtering": {}}
    check(checkout, copy.deepcopy(config), pipeline={"weights": "one", "geometric": cuts})
    text = message(checkout, config, pipeline={"weights": "one", "geometric": {"embedding": {}}})
    assert text.startswith("pipeline.weights: one/filtering.safetensors: no such file; expected")


def test_networks_that_the_workflow_trains_need_not_be_there(checkout, config):
    check(checkout, config, results="results/mine", pipeline={"weights": "results/mine/models/"})


@pytest.mark.parametrize("results", [".", "..", "../..", "results/..", "src", "src/mine", ".git"])
def test_results_on_the_checkout_are_refused(checkout, config, results):
    assert message(checkout, config, results=results).startswith("results: ")


def test_results_are_refused_by_their_real_place(checkout, config):
    (checkout / "link").symlink_to("src")
    assert "lies on the workflow's own files" in message(checkout, config, results="link/mine")
    (checkout / "file").touch()
    assert message(checkout, config, results="file") == (
        "results: file is a file; expected a folder"
    )


@pytest.mark.parametrize("results", ["results/x", "out", "../beside", "/tmp/exatrkx/results"])
def test_results_may_lie_elsewhere(checkout, config, results):
    check(checkout, config, results=results)


@pytest.mark.parametrize("character", " '&($;{:\t")
def test_a_path_that_a_shell_would_misread_is_refused(checkout, config, character):
    text = message(checkout, config, results=f"results/a{character}b")
    assert repr(character) in text and text.startswith("results: ")
    with pytest.raises(ConfigError, match="the path of the checkout has"):
        check_paths(load_config(config | {"results": "r"}, "mine"), checkout / f"a{character}b")


@pytest.mark.parametrize("image", ["/no/such.sif", "./triton.sif", "images/triton.sif", "~/x"])
def test_a_container_that_is_not_there_is_named(checkout, config, image):
    text = message(checkout, config, server={"launcher": "apptainer", "image": image})
    assert text.startswith(f"server.image: {image}: no such file")


@pytest.mark.parametrize("image", ["docker://x/y:1", "nvcr.io/nvidia/tritonserver:24.10-py3"])
def test_a_container_of_a_registry_is_not_looked_for(checkout, config, image):
    check(checkout, config, server={"launcher": "apptainer", "image": image})


@pytest.fixture
def before(checkout):
    """The results of another run."""
    folder = checkout / "results" / "before"
    folder.mkdir(parents=True)
    for name in ("summary.csv", "provenance.json"):
        (folder / name).touch()
    return folder


def test_a_baseline_may_be_any_folder_of_results(checkout, config, before):
    check(checkout, config, baseline="results/before/")
    check(checkout, config, baseline=str(before))


@pytest.mark.parametrize("missing", ["summary.csv", "provenance.json"])
def test_a_baseline_without_results_is_named(checkout, config, before, missing):
    (before / missing).unlink()
    assert message(checkout, config, baseline="results/before") == (
        f"baseline: results/before/{missing}: no such file; expected another folder of results, "
        "with summary.csv and provenance.json, as in `snakemake compare --config "
        "baseline=results/before`"
    )


@pytest.mark.parametrize("baseline", ["results/before", "results/../results/before"])
def test_a_run_is_no_baseline_of_itself(checkout, config, before, baseline):
    text = message(checkout, config, results="results/before", baseline=baseline)
    assert text.startswith("baseline: results/before is this run's own folder; expected another")


def test_a_baseline_that_snakemake_would_take_for_a_pattern_is_refused(checkout, config):
    assert "'{'" in message(checkout, config, baseline="results/{x}")


def test_a_folder_of_the_checkout_is_its_own(root):
    tracked = subprocess.run(
        ["git", "-c", f"safe.directory={root}", "ls-tree", "--name-only", "HEAD"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    folders = {name for name in tracked if (root / name).is_dir()} - {"results"}
    assert folders <= set(OWN)


def test_the_overlays_name_the_networks_they_train(root):
    for file in (root / "config").glob("*.yaml"):
        overlay = yaml.safe_load(file.read_text())
        weights = overlay.get("pipeline", {}).get("weights")
        if weights and file.name != "config.yaml":
            assert weights == f"{overlay['results']}/models"


FINDER = {"finder": "mine.py:find"}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (FINDER, "finder: mine.py: no such file; expected one of Python code"),
        (
            {"finder": "a.b:c", "files": ["w.pt"]},
            "files: w.pt: no such file; expected one of the finder's",
        ),
        ({"command": ["./find"]}, "command: ./find: no such file; expected a program"),
    ],
)
def test_files_of_a_finder_that_are_not_there_are_named(checkout, config, method, expected):
    text = message(checkout, config, physics={"methods": {"mine": method}})
    assert text == f"physics.methods.mine.{expected}"


def test_a_finder_is_made_of_its_file_of_what_its_command_names_and_of_others(
    checkout, config, monkeypatch
):
    monkeypatch.chdir(checkout)
    for name in ("mine.py", "find.sh", "w.pt"):
        (checkout / name).touch()
    check(checkout, config, physics={"methods": {"mine": FINDER, "none": {"finder": "a.b:c"}}})
    assert finder_files({**FINDER, "files": ["w.pt"]}) == ["mine.py", "w.pt"]
    assert finder_files({"command": ["bash", "find.sh", "-v"]}) == ["find.sh"]
    assert finder_files({"finder": "a.b:c"}) == []


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Self-signed certificates with their keys; the key of ``locked`` has a password."""
    if not shutil.which("openssl"):
        pytest.skip("makes certificates with openssl")
    folder = tmp_path_factory.mktemp("pem")
    for name, secret in (("a", ["-nodes"]), ("b", ["-nodes"]), ("locked", ["-passout", "pass:x"])):
        new = ["-newkey", "rsa:2048", *secret, "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        command = ["openssl", "req", "-x509", "-subj", f"/CN={name}", *new]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "text.pem").write_text("no certificate\n")
    return folder


def external(**changes):
    urls = {"grpc": "node:1", "http": "node:2"}
    return {"launcher": "external", "urls": urls, **changes}


def test_certificates_and_variables_of_a_server_are_looked_at_before_any_job(
    checkout, config, pem, monkeypatch
):
    monkeypatch.setenv("PASS", "s3cret")
    good = {"ca": f"{pem}/a.pem", "certificate": f"{pem}/a.pem", "key": f"{pem}/a.key"}
    headers = {"authorization": {"env": "PASS"}}
    check(checkout, config, server=external(tls=good, headers=headers))
    expected = {
        "no such file; expected one in PEM": {"ca": f"{pem}/none.pem"},
        "text.pem: can't be used (NO_CERTIFICATE_OR_CRL_FOUND)": {"ca": f"{pem}/text.pem"},
        "b.key: can't be used (KEY_VALUES_MISMATCH)": {"key": f"{pem}/b.key"},
        "without a password, in PEM": {
            "certificate": f"{pem}/locked.pem",
            "key": f"{pem}/locked.key",
        },
    }
    for text, change in expected.items():
        found = message(checkout, config, server=external(tls=good | change))
        assert found.startswith("server.tls.") and text in found
    monkeypatch.delenv("PASS")
    assert message(checkout, config, server=external(headers=headers)) == (
        "server.headers.authorization.env: PASS is not set; expected an environment variable with "
        "the value of the header"
    )
