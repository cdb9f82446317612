"""The tables of the open loop: each option's capacity, and what was found at each rate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from exatrkx_service.analysis.checks import check_files
from exatrkx_service.analysis.table import read_table
from exatrkx_service.options import natural_key

CAPACITY_COLUMNS = (
    *("option", "limit_ms", "quantile", "capacity_evt_s", "low_evt_s", "high_evt_s", "certified"),
    *("n_queries", "n_over", "p50_ms", "p99_ms", "dispatch_p99_ms", "reason"),
)


def check_capacity(
    requests: Iterable[Path | str], reference: Path | str, settings: Mapping[str, Any]
) -> None:
    """Checks that all capacities are of the reference's inputs, and of this configuration.

    Args:
        requests: the Parquet files of the requests, ``capacity/<option>.parquet``.
        reference: the Parquet file of the reference.
        settings: of each option, what its capacity depends on of the configuration.

    Raises:
        IdentityError: a file is of other events, networks, models or settings.
    """
    check_files({path: settings[path.stem] for path in map(Path, requests)}, reference)


def capacity_table(provenance: Iterable[Path | str]) -> pd.DataFrame:
    """One row per option, in natural order, with the columns ``CAPACITY_COLUMNS``.

    Args:
        provenance: the provenance of each option's job, ``capacity/<option>.json``.
    """
    rows = [json.loads(Path(path).read_text())["job"]["capacity"] for path in provenance]
    rows.sort(key=lambda row: natural_key(row["option"]))
    return pd.DataFrame(rows, columns=[*CAPACITY_COLUMNS])


def rates_table(files: Iterable[Path | str]) -> pd.DataFrame:
    """The rates of all options, see ``measure.trial.Trial.row``: one row per option and rate."""
    table = pd.concat([read_table(path) for path in files], ignore_index=True)
    order = table.option.map(natural_key)
    return table.iloc[sorted(table.index, key=lambda i: (order[i], table.rate_evt_s[i]))]


def read_capacity(path: Path | str) -> pd.DataFrame:
    """Reads ``capacity.csv``; a reason that is empty is no missing one."""
    return read_table(path).fillna({"reason": ""})


def read_rates(path: Path | str) -> pd.DataFrame:
    """Reads ``capacity_rates.csv``; likewise."""
    return read_table(path).fillna({"disturbed": "", "problem": ""})
