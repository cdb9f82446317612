import pandas as pd
import pytest


@pytest.fixture
def sizes():
    return pd.DataFrame(
        {"event": [7, 9], "n_space_points": [3, 0], "n_edges_built": [2, 0], "n_edges_filtered": 0}
    )
