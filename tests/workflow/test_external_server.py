"""Measuring somebody else's server, whose trace can't be had."""

import numpy as np
import pandas as pd
import pytest

from exatrkx_service.analysis.timings import check_timings
from exatrkx_service.measure.job import measure
from exatrkx_service.options import STAGES, Option
from exatrkx_service.serving.launch import launch

POINTS = np.array([[32.0, 0.1, 5.0], [72.0, 2.9, -900.0]], np.float32)


@pytest.mark.parametrize("name", ["S3", "S5"])
def test_requests_are_not_divided_and_the_statistics_are_kept(smoke, config, tmp_path, name):
    option = Option.from_config(name, config["options"][name])
    models = smoke.folder / "model_repo"
    sizes = pd.DataFrame({"event": [0, 1], "n_space_points": [1, 2]})
    sizes = sizes.assign(n_edges_built=0, n_edges_filtered=0)
    events = {0: POINTS[:1], 1: POINTS}
    config["measure"] |= {"concurrency": [1, 2], "repetitions": 3, "warmup_events": 2}
    arguments = (models, option.models, tmp_path / "w", config["server"], config["pipeline"])
    with launch(*arguments) as server:
        config["server"] |= {
            "launcher": "external",
            "urls": {"grpc": server.grpc_url, "http": server.http_url},
        }
        rows, facts = measure(option, 1, events, sizes, models, config, tmp_path / "none")
    check_timings(rows, name)
    assert set(rows.part) == {"total", "serialise", "request", "deserialise"}
    assert set(rows[rows.part == "request"].stage) == ({"pipeline"} if name == "S5" else {*STAGES})
    total = rows[rows.part == "total"].duration_ns.sum()
    assert rows[rows.part != "total"].duration_ns.sum() == pytest.approx(total, rel=0.01)
    asked = {(row["concurrency"], row["model"]): row["requests"] for row in facts["statistics"]}
    # Every event three times, and each client sends one before.
    assert asked == {(c, m): 2 * 3 + c for c in (1, 2) for m in option.models}
    assert all(row["compute_infer_ms"] > 0 for row in facts["statistics"])
    assert facts["server"] == server.version
    assert not (tmp_path / "none").exists(), "a server was prepared"
