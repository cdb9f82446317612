import numpy as np
import pandas as pd
import pytest
from hand_made import make_event, make_method
from synthetic import make_reference, make_timings

from exatrkx_service.analysis.physics import found_edges, physics_table


@pytest.fixture(scope="session")
def synthetic() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Timings and reference of all six options; copy before changing."""
    timings = make_timings()
    return timings, make_reference(timings)


@pytest.fixture(scope="session")
def physics() -> pd.DataFrame:
    """Tracking performance of two methods on one event; only one has edges."""
    event = make_event(0, (5, 7), noise=3, from_hnl=[False, True], vr=[0.0, 200.0])
    pairs = np.array([[0, 1, 5], [1, 2, 6]])
    tensors = {"edges": pairs, "filtered_edges": pairs, "edge_scores": np.ones(3)}
    methods = {
        "exatrkx": make_method(
            [0] * 5 + [5] * 7 + [12] * 3, edges=found_edges(event, tensors, 0.5)
        ),
        "CKF": make_method([0] * 5 + [5] * 3 + [-1] * 7),
    }
    return physics_table([event], methods, confidence_level=0.95, resamples=100)
