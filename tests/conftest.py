"""Settings and helpers of all tests."""

import os
from pathlib import Path

# Before torch and faiss are imported: the tests share two cores.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import pytest  # noqa: E402
import yaml  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def config() -> dict:
    """The default configuration, each test's own to change."""
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
