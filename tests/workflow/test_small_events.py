"""Events with nothing, or next to nothing, in them are valid: no tracks, in every option."""

import numpy as np
import pytest

from exatrkx_service.measure.first_requests import TracksError
from exatrkx_service.measure.load import hash_labels


@pytest.mark.parametrize("name", ["S0", "S1", "S2", "S3", "S4", "S5"])
def test_small_events_have_no_tracks(small, name):
    rows, blocks, facts = small.run(name)
    total = rows[rows.part == "total"]
    assert (total.status == "ok").all(), total.error.unique()
    assert total.groupby("arm").event.nunique().to_dict() == {"option": 3, "control": 3}
    assert (blocks.n_failed == 0).all() and (blocks.window_s > 0).all()
    served = blocks[blocks.arm == "option"].server_cpu_ms
    assert (served == 0).all() if name == "S0" else served.sum() > 0
    for n in small.events:
        assert set(total[total.event == n].labels_sha256) == {hash_labels(np.full(n, -1))}
    assert (facts["server"] is None) == (name == "S0")
    assert facts["device"] == "cpu"
    if name == "S0":
        return
    assert facts["cold_processes"] == [] and facts["processes"]
    for model in facts["models"].values():
        if model["backend"] != "ensemble":
            assert (model["instances"], model["device"], model["threads"]) == (1, "cpu", 1)
    for about in facts["processes"].values():
        assert about["affinity"] == about["affinity_at_start"] == facts["limits"]["affinity"]


def test_http_serves_several_clients_as_grpc_does(small):
    small.config["server"]["protocol"] = "http"
    small.config["measure"]["concurrency"] = [3]
    rows, _, _ = small.run("S3")
    total = rows[rows.part == "total"]
    assert (total.status == "ok").all(), total.error.unique()
    assert set(rows.client) == {0, 1, 2}


@pytest.mark.parametrize("name", ["S3", "S4", "S5"])
def test_every_instance_is_warm_before_the_clock_starts(small, name):
    small.config["server"]["instances"] = 3
    small.config["measure"]["warmup_events"] = 1
    _, _, facts = small.run(name)
    stages = {"S3": 5, "S4": 5, "S5": 1}[name]
    assert len(facts["processes"]) == 3 * stages
    assert facts["cold_processes"] == []


@pytest.mark.parametrize("name", ["S0", "S2"])
def test_other_tracks_than_the_references_are_told_before_anything_is_measured(small, name):
    wrong = small.reference.assign(labels_sha256="0" * 64)
    with pytest.raises(TracksError, match=rf"option {name}: the tracks of event 2 are not those"):
        small.run(name, reference=wrong)


@pytest.mark.parametrize("name", ["S0", "S1"])
def test_clients_are_threads_of_one_process_or_processes(small, name):
    found = {}
    for kind in ("threads", "processes"):
        small.config["measure"] |= {"clients": kind, "concurrency": [2]}
        rows, _, facts = small.run(name, work=kind)
        assert set(rows.client) == {0, 1}
        labels = rows[rows.part == "total"].drop_duplicates("event").set_index("event")
        found[kind] = labels.labels_sha256.to_dict()
        assert facts["clients"] == kind
        processes = {process.split("/")[1] for process in facts["affinities"]}
        models = len(facts.get("processes", {}))
        own = len(processes) - models - (2 if models else 0)  # tritonserver and its guard
        assert own == {"threads": 1, "processes": 3}[kind]
    assert found["threads"] == found["processes"]
