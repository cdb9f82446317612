import pandas as pd
import pytest
from synthetic import make_reference, make_timings


@pytest.fixture(scope="session")
def synthetic() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Timings and reference of all six options; copy before changing."""
    timings = make_timings()
    return timings, make_reference(timings)
