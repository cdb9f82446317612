"""Measurements of events that are next to nothing, with the networks of the smoke run."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from exatrkx_service.identity import with_networks
from exatrkx_service.measure.job import measure
from exatrkx_service.measure.load import hash_labels
from exatrkx_service.options import Option
from exatrkx_service.serving.native import CHOICE, choose_backend

POINTS = np.array([[32.0, 0.1, 5.0], [72.0, 2.9, -900.0]], np.float32)


@pytest.fixture
def small(smoke, config, tmp_path, monkeypatch):
    """Events of 0, 1 and 2 space points, and how to measure an option on them.

    Its ``config`` may be changed before. The networks are served by the Python-based backend, as
    where there is no compiler; the smoke run has the native one where there is.
    """
    monkeypatch.chdir(smoke.folder)
    config["measure"] |= {"concurrency": [2], "min_blocks": 2, "block_s": 0.05, "max_seconds": 0.5}
    config["measure"]["warmup_events"] = 3
    events = {n: POINTS[:n] for n in range(3)}
    reference = pd.DataFrame({"event": [*events], "n_space_points": [*events]}).assign(
        n_edges_built=0,
        n_edges_filtered=0,
        n_tracks=0,
        labels_sha256=[hash_labels(np.full(n, -1)) for n in events],
    )
    models = shutil.copytree(smoke.folder / "results/smoke/model_repo", tmp_path / "models")
    choose_backend(models / CHOICE, "python")
    pipeline = with_networks(config["pipeline"])

    def run(name, reference=reference, work="work"):
        return measure(
            Option.from_config(name, config["options"][name], config["server"]),
            1,
            events,
            reference,
            models,
            config | {"pipeline": pipeline},
            tmp_path / work,
            tmp_path / "server.log",
        )

    return SimpleNamespace(
        run=run,
        config=config,
        events=events,
        reference=reference,
        models=models,
        pipeline=pipeline,
        folder=tmp_path,
    )
