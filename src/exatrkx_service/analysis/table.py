"""The summary as a physicist reads it, on a terminal and in the report."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from exatrkx_service.analysis.cells import INVALID, STABLE, UNSTABLE, clients, verdict_lines
from exatrkx_service.config import load_config

HEADINGS = {
    "option": "option",
    "concurrency": "clients",
    "mean": "mean [interval] / ms",
    "cost": "cost [interval] / ms",
    "slowdown": "slowdown vs S0",
    "p50": "p50 / ms",
    "p95": "p95 / ms",
    "throughput": "events/s",
    "cpu": "CPU / ms",
    "same_tracks": "same tracks",
    "verdict": "verdict",
}
NAMES = ("option", "method", "verdict", "reason")  # columns that are text whatever is in them
VERDICTS = (STABLE, UNSTABLE, INVALID)
N_LINES = 3  # of a kind on the terminal; the report has them all


class TableError(ValueError):
    """A table that can't be read; the message names the file."""


def read_table(path: Path | str) -> pd.DataFrame:
    """Reads a table that a rule wrote, as it was: its numbers to the last bit, its names as text.

    pandas reads numbers faster otherwise, and then some are another one than was written; and it
    takes names such as NA and None for missing.

    Raises:
        TableError: the file is no table, or ends within a line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("no newline at its end, was it cut off?")
        return pd.read_csv(
            io.StringIO(text),
            float_precision="round_trip",
            keep_default_na=False,
            na_values=[""],
            dtype=dict.fromkeys(NAMES, str),
        )
    except ValueError as error:  # those of pandas and of decoding derive from it
        raise TableError(f"{path}: not a readable table: {error}") from error


def read_summary(path: Path | str) -> pd.DataFrame:
    """Reads ``summary.csv``; a reason that is empty is no missing one.

    Raises:
        TableError: as ``read_table``; a verdict is none, or a number is text.
    """
    table = read_table(path).fillna({"reason": ""})
    for column in table.columns:
        of_numbers = column.endswith(("_ms", "_evt_s", "_mib")) or column.startswith("slowdown")
        if of_numbers and not pd.api.types.is_numeric_dtype(table[column]):
            raise TableError(f"{path}: column {column!r}: expected numbers")
    if "verdict" in table and not table.verdict.isin(VERDICTS).all():
        wrong = table[~table.verdict.isin(VERDICTS)].iloc[0]
        raise TableError(
            f"{path}: {wrong.option} with {clients(wrong.concurrency)}: verdict {wrong.verdict!r}; "
            f"expected one of {', '.join(VERDICTS)}"
        )
    return table


def display_rows(summary: pd.DataFrame) -> list[dict[str, str]]:
    """The summary's rows as text, for the terminal and the report; '-' where there is no number."""
    return [
        {
            "option": row.option,
            "concurrency": str(row.concurrency),
            "n_events": str(row.n_events),
            "n_blocks": str(row.n_blocks),
            "n_failed": str(row.n_failed)
            + (f" + {row.n_rejected} turned away" if row.n_rejected > 0 else ""),
            "mean": with_interval(row.mean_ms, row.ci95_low_ms, row.ci95_high_ms),
            "cost": with_interval(row.cost_ms, row.cost_low_ms, row.cost_high_ms, sign="+"),
            "p50": number(row.p50_ms),
            "p95": number(row.p95_ms),
            "p99": number(row.p99_ms),
            "throughput": number(row.throughput_evt_s),
            "slowdown": _slowdown(row),
            # A server on another machine is not in it.
            "cpu": f"{row.client_cpu_ms:.1f} + {row.server_cpu_ms:.1f}"
            if pd.notna(row.client_cpu_ms + row.server_cpu_ms)
            else number(row.client_cpu_ms, digits=1),
            "same_tracks": "-" if pd.isna(row.same_tracks) else f"{row.same_tracks:.1%}",
            "verdict": row.verdict,
        }
        for row in summary.itertuples()
    ]


def _slowdown(row: Any) -> str:
    """'×1.24 ± 0.03', or without an interval; '-' where there is none."""
    if pd.isna(row.slowdown_vs_S0):
        return "-"
    half = (row.slowdown_high - row.slowdown_low) / 2
    return f"×{row.slowdown_vs_S0:.2f}" + (f" ± {half:.2f}" if pd.notna(half) else "")


def terminal_table(summary: pd.DataFrame) -> str:
    """The summary as a table of plain text, see ``summary.summarise``.

    The share of events with the tracks of the pipeline is in it only where one is below 1.
    """
    rows = pd.DataFrame(display_rows(summary))[list(HEADINGS)]
    if not (summary.same_tracks < 1).any():
        rows = rows.drop(columns="same_tracks")
    return rows.rename(columns=HEADINGS).to_string(index=False)


def number(value: float, *, sign: str = "", digits: int = 2) -> str:
    """The number as text; '-' for NaN."""
    return "-" if pd.isna(value) else f"{value:{sign}.{digits}f}"


def with_interval(value: float, low: float, high: float, *, sign: str = "") -> str:
    """'44.30 [41.20, 47.50]'; the value alone where there is no interval."""
    if pd.isna(low):
        return number(value, sign=sign)
    return f"{number(value, sign=sign)} [{number(low, sign=sign)}, {number(high, sign=sign)}]"


def results_folder(files: Sequence[Path]) -> Path:
    """The folder of results that configuration files name, each laid over those before it."""
    from snakemake.utils import update_config  # the environment of a job may have no Snakemake

    config: dict = {}
    for file in files:
        update_config(config, yaml.safe_load(file.read_text(encoding="utf-8")))
    return Path(load_config(config, source=", ".join(map(str, files)))["results"])


def terminal_lines(what: str, lines: Sequence[str], most: int) -> str:
    """A paragraph for the terminal: how many of what, and the first of them; empty without any."""
    if not lines:
        return ""
    text = [f"{len(lines)} {what}{'s' * (len(lines) > 1)}:", *lines[:most]]
    if len(lines) > most:
        text.append(f"and {len(lines) - most} more: see the report")
    return "\n\n" + "\n  ".join(text)


def main(files: Sequence[Path]) -> int:
    """Prints the summary, what speaks against it, and the place of the report.

    Args:
        files: the configuration files of the run, overlays last.

    Returns:
        0, or 1 if a cell is invalid.

    Raises:
        ConfigError: the files hold no valid configuration.
    """
    folder = results_folder(files)
    summary = read_summary(folder / "summary.csv")
    invalid, unstable = (verdict_lines(summary, verdict) for verdict in (INVALID, UNSTABLE))
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    print(
        terminal_table(summary)
        + terminal_lines("invalid cell", invalid, len(invalid))
        + terminal_lines("unstable cell", unstable, N_LINES)
        + terminal_lines("warning", provenance["warnings"], N_LINES)
        + f"\n\nreport: {(folder / 'report.html').resolve()}"
    )
    return 1 if invalid else 0


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
