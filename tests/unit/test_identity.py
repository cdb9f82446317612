import json
import os

import pandas as pd
import pytest

from exatrkx_service import identity
from exatrkx_service.identity import (
    ANALYSIS_CODE,
    CODE,
    EVENTS_CODE,
    EXPORT_CODE,
    FINDER_CODE,
    IdentityError,
    attributes_of,
    check_same,
    code_digest,
    file_sha256,
    identify,
    network_states,
    with_networks,
)
from exatrkx_service.options import NETWORKS


@pytest.mark.parametrize("code", [CODE, FINDER_CODE, EVENTS_CODE, EXPORT_CODE, ANALYSIS_CODE])
def test_the_digest_is_of_the_code_that_decides(root, code):
    package = root / "src" / "exatrkx_service"
    assert all((package / name).exists() for name in code)
    whole = code_digest(code)
    assert whole == code_digest(code)
    for i in range(len(code)):
        assert code_digest(code[:i] + code[i + 1 :]) != whole


def test_the_digest_is_also_of_files_that_are_no_python(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "identity.py"))
    (tmp_path / "events").mkdir()
    file = tmp_path / "events" / "digitization.json"
    file.write_text("1")
    before = code_digest(("events",))
    file.write_text("2")
    assert code_digest(("events",)) != before
    (tmp_path / "events" / "__pycache__").mkdir()
    (tmp_path / "events" / "__pycache__" / "x.pyc").touch()
    file.write_text("1")
    assert code_digest(("events",)) == before


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    for stage in NETWORKS:
        (folder / f"{stage}.safetensors").write_text(stage)
    return folder


def test_networks_are_known_by_their_weights_and_their_cut(weights):
    pipeline = {"weights": str(weights), "filter_cut": 0}
    networks = with_networks(pipeline)["networks"]
    assert networks["gnn"] == {
        "stage": "gnn",
        "weights_sha256": file_sha256(weights / "gnn.safetensors"),
    }
    assert networks["filtering"]["filter_cut"] == "0.0"
    other = with_networks(pipeline | {"filter_cut": 0.5})["networks"]
    assert {stage for stage in NETWORKS if networks[stage] != other[stage]} == {"filtering"}
    (weights / "gnn.safetensors").write_text("other")
    other = with_networks(pipeline)["networks"]
    assert {stage for stage in NETWORKS if networks[stage] != other[stage]} == {"gnn"}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("others", [True, False])
def test_a_network_that_is_replaced_is_noticed(tmp_path, weights, monkeypatch, whole, others):
    """By a file as large and with the same time, as `cp -p` and `mv` leave it."""
    monkeypatch.setattr(identity, "READ_WHOLE", 100 if whole else 1)
    file = tmp_path / "theirs.pt" if others else weights / "gnn.safetensors"
    file.write_text("one")
    pipeline = {"weights": str(weights)}
    if others:
        pipeline["models"] = {"gnn": {"file": str(file)}}
    before, state = network_states(pipeline, "results/models"), file.stat()
    assert network_states(pipeline, "results/models") == before
    (tmp_path / "new").write_text("two")
    os.utime(tmp_path / "new", ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "new").replace(file)
    after = network_states(pipeline, "results/models")
    assert {stage for stage in NETWORKS if before[stage] != after[stage]} == {"gnn"}


def test_networks_that_are_trained_here_need_not_be_there(tmp_path):
    pipeline = {"weights": f"{tmp_path}/models"}
    assert network_states(pipeline, f"{tmp_path}/models") == dict.fromkeys(NETWORKS)


def test_inputs_are_known_by_their_content(tmp_path, weights):
    manifests = [tmp_path / "events_0-1.json", tmp_path / "events_2-3.json"]
    for path in manifests:
        path.write_text(path.name)
    models = tmp_path / "models"
    (models / "gnn" / "1").mkdir(parents=True)
    (models / "gnn" / "1" / "model.pt").write_text("a network")
    networks = with_networks({"weights": str(weights), "filter_cut": 0.1})["networks"]
    inputs = identify(manifests, networks, models)
    assert inputs == identify(reversed(manifests), networks, models)
    assert list(inputs["models_sha256"]) == ["gnn/1/model.pt"]
    assert "networks" not in identify(manifests, {})
    for path, key in (
        (manifests[1], "events_sha256"),
        (models / "gnn/1/model.pt", "models_sha256"),
    ):
        before = path.read_text()
        path.write_text("changed")
        changed = identify(manifests, networks, models)
        assert [name for name in inputs if inputs[name] != changed[name]] == [key]
        path.write_text(before)


def test_a_table_keeps_what_it_is_a_result_of(tmp_path):
    table = pd.DataFrame({"event": [1]})
    table.attrs = {"inputs": {"events_sha256": "e", "networks": {"gnn": {"cut": "0.1"}}}}
    table.to_parquet(tmp_path / "t.parquet")
    assert attributes_of(tmp_path / "t.parquet") == table.attrs
    pd.DataFrame({"event": [1]}).to_parquet(tmp_path / "bare.parquet")
    assert attributes_of(tmp_path / "bare.parquet") == {}


def test_what_differs_is_named():
    expected = {"a": {"b": 1, "c": [1, 2]}}
    check_same(json.loads(json.dumps(expected)) | {"more": 3}, expected, "x.parquet", "y")
    for found, shown in (
        ({"a": {"b": 2, "c": [1, 2]}}, r"a\.b: 2, but 1 in y"),
        ({"a": {"b": 1}}, r"a\.c: none, but \[1, 2\] in y"),
        ({}, r"a\.b: none, but 1 in y"),
    ):
        with pytest.raises(IdentityError, match=rf"x\.parquet: {shown}: results of different"):
            check_same(found, expected, "x.parquet", "y")
