import pandas as pd
import pytest
from hand_made import make_physics
from synthetic import make_blocks, make_reference, make_timings
from tables import Tables, make_tables


@pytest.fixture(scope="session")
def synthetic() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Timings, blocks and reference of all six options; copy before changing."""
    timings = make_timings()
    return timings, make_blocks(timings), make_reference(timings)


@pytest.fixture(scope="session")
def tables(synthetic) -> Tables:
    """The tables of all six options; copy before changing."""
    return make_tables(*synthetic)


@pytest.fixture(scope="session")
def physics() -> pd.DataFrame:
    """Tracking performance of two methods on one event; only one has edges."""
    return make_physics()
