"""Which particles made the space points: barcodes as numbers."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.events.files import BARCODE_COLUMNS
from exatrkx_service.events.truth import _barcodes

field = st.integers(0, 3) | st.sampled_from(
    [2**31, 2**32 - 1, 2**63 - 2, 2**63 - 1, 2**63, 2**64 - 1]
)
barcodes = st.lists(st.tuples(*[field] * len(BARCODE_COLUMNS)), max_size=6)


@given(st.lists(barcodes, min_size=1, max_size=3))
def test_numbers_are_equal_where_barcodes_are(tables):
    given_tables = [
        pd.DataFrame(np.array(rows, np.uint64).reshape(-1, 5), columns=list(BARCODE_COLUMNS))
        for rows in tables
    ]
    codes = _barcodes(given_tables)
    assert [len(own) for own in codes] == [len(rows) for rows in tables]
    rows = [row for rows in tables for row in rows]
    numbers = np.concatenate(codes).tolist()
    assert len(set(zip(rows, numbers, strict=True))) == len(set(rows)) == len(set(numbers))
