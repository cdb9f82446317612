"""Events with nothing, or next to nothing, in them are valid: no tracks, in every option."""

import numpy as np
import pandas as pd
import pytest

from exatrkx_service.measure.job import measure
from exatrkx_service.measure.load import hash_labels
from exatrkx_service.options import Option

POINTS = np.array([[32.0, 0.1, 5.0], [72.0, 2.9, -900.0]], np.float32)
EVENTS = {n: POINTS[:n] for n in range(3)}


@pytest.mark.parametrize("name", ["S0", "S1", "S2", "S3", "S4", "S5"])
def test_small_events_have_no_tracks(smoke, config, tmp_path, name):
    config["measure"] |= {"concurrency": [2], "repetitions": 2, "warmup_events": 3}
    sizes = pd.DataFrame({"event": [0, 1, 2], "n_space_points": [0, 1, 2]})
    sizes = sizes.assign(n_edges_built=0, n_edges_filtered=0)
    rows, facts = measure(
        Option.from_config(name, config["options"][name]),
        1,
        EVENTS,
        sizes,
        smoke.folder / "model_repo",
        config,
        tmp_path,
    )
    total = rows[rows.part == "total"]
    assert len(total) == 6 and (total.status == "ok").all(), total.error.unique()
    for n in EVENTS:
        assert set(total[total.event == n].labels_sha256) == {hash_labels(np.full(n, -1))}
    assert (facts["server"] is None) == (name == "S0")


def test_http_serves_several_clients_as_grpc_does(smoke, config, tmp_path):
    config["server"]["protocol"] = "http"
    config["measure"] |= {"concurrency": [3], "repetitions": 4, "warmup_events": 3}
    sizes = pd.DataFrame({"event": [0, 1, 2], "n_space_points": [0, 1, 2]})
    sizes = sizes.assign(n_edges_built=0, n_edges_filtered=0)
    option = Option.from_config("S3", config["options"]["S3"])
    rows, _ = measure(option, 1, EVENTS, sizes, smoke.folder / "model_repo", config, tmp_path)
    total = rows[rows.part == "total"]
    assert len(total) == 12 and (total.status == "ok").all(), total.error.unique()
    assert set(rows.client) == {0, 1, 2}
