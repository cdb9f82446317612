"""The columns that results/README.md describes are those of the files."""

import re

import pytest

from exatrkx_service.analysis.breakdown import BREAKDOWN_COLUMNS
from exatrkx_service.analysis.comparison import CHANGES_COLUMNS, DIFFERENCES_COLUMNS
from exatrkx_service.analysis.coverage import COVERAGE_COLUMNS
from exatrkx_service.analysis.cuts import CUTS_COLUMNS
from exatrkx_service.analysis.physics import PHYSICS_COLUMNS
from exatrkx_service.analysis.summary import COST_COLUMNS, SUMMARY_COLUMNS
from exatrkx_service.analysis.timings import BLOCK_COLUMNS, COLUMNS, REFERENCE_COLUMNS
from exatrkx_service.baseline.ckf import TIME_COLUMNS, TRACK_COLUMNS
from exatrkx_service.measure.agreement import AGREEMENT_COLUMNS
from exatrkx_service.models.training import CURVE_COLUMNS
from exatrkx_service.tracking.method import COLUMNS as METHOD_COLUMNS


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("timings/<option>/round<r>.parquet", COLUMNS),
        ("timings/<option>/round<r>.blocks.parquet", BLOCK_COLUMNS),
        ("reference.parquet", REFERENCE_COLUMNS),
        *((f"<method>/{table}.parquet", names) for table, names in METHOD_COLUMNS.items()),
        ("physics.csv", PHYSICS_COLUMNS),
        ("summary.csv", SUMMARY_COLUMNS),
        ("cost.csv", COST_COLUMNS),
        ("breakdown.csv", BREAKDOWN_COLUMNS),
        ("compare/changes.csv", CHANGES_COLUMNS),
        ("compare/provenance.csv", DIFFERENCES_COLUMNS),
        ("coverage.csv", COVERAGE_COLUMNS),
        ("baseline/tracks.parquet", TRACK_COLUMNS),
        ("baseline/times.parquet", TIME_COLUMNS),
        ("models/<stage>.curve.csv", CURVE_COLUMNS),
        ("models/cuts.csv", CUTS_COLUMNS),
        ("agreement.csv", AGREEMENT_COLUMNS),
    ],
)
def test_every_column_is_described(root, file, columns):
    text = (root / "results" / "README.md").read_text()
    table = text.split(f"\n## `{file}`\n")[1].split("| column |")[1].split("\n\n")[0]
    names = [cell for row in table.splitlines() for cell in row.split("|")[1:2]]
    assert sorted(re.findall(r"`(\w+)`", " ".join(names))) == sorted(columns)
