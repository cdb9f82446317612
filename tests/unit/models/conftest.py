from pathlib import Path

import pytest
import torch
from toy_tracks import N_EVENTS, toy_event, write_event

from exatrkx_service.models import training

torch.set_num_threads(1)


@pytest.fixture
def event():
    return toy_event(1)


@pytest.fixture
def sample(monkeypatch, tmp_path: Path) -> Path:
    """A folder with eight small events; the networks trained on them are small as well."""
    for seed in range(N_EVENTS):
        write_event(tmp_path, seed, toy_event(seed))
    small = {
        "embedding": {"hidden": 16, "n_layers": 2, "dimension": 4},
        "filtering": {"hidden": 8, "node_hidden": 8},
        "gnn": {"hidden": 8, "n_layers": 2},
    }
    monkeypatch.setattr(training, "ARCHITECTURES", small)
    return tmp_path
