from pathlib import Path

import pytest
import torch
from toy_tracks import N_EVENTS, toy_event, write_event

torch.set_num_threads(1)


@pytest.fixture
def event():
    return toy_event(1)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A folder with eight small events."""
    for seed in range(N_EVENTS):
        write_event(tmp_path, seed, toy_event(seed))
    return tmp_path
