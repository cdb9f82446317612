from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from acts_csv import N_HNL_EVENTS
from acts_releases import SMALL, frames, write

from exatrkx_service.events.collisions import CollisionGenerator
from exatrkx_service.events.generate import generate

CONFIG_FILE = Path(__file__).parents[3] / "config" / "config.yaml"


@pytest.fixture(scope="session")
def default_config() -> dict:
    return yaml.safe_load(CONFIG_FILE.read_text())["events"]


@pytest.fixture
def config(default_config: dict) -> dict:
    return copy.deepcopy(default_config)


@pytest.fixture(scope="session")
def hnl_sample(default_config: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six HNL events made in one go on one thread; tests do not change it."""
    folder = tmp_path_factory.mktemp("samples") / "hnl"
    generate(folder, default_config, 0, N_HNL_EVENTS)
    return folder


@pytest.fixture(scope="session")
def pileup_sample(default_config: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two HNL events with five soft collisions on average."""
    folder = tmp_path_factory.mktemp("samples") / "pileup"
    generate(folder, {**default_config, "pileup": 5}, 0, 2)
    return folder


@pytest.fixture(scope="session")
def hnl_generator(default_config: dict) -> CollisionGenerator:
    return CollisionGenerator(default_config)


@pytest.fixture(scope="session")
def pileup_generator(default_config: dict) -> CollisionGenerator:
    """Its set-up takes seconds, so the tests share it."""
    return CollisionGenerator({**default_config, "pileup": 5})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small event in the files of ACTS."""
    return write(tmp_path / "events", frames(SMALL))
