"""The summary as a physicist reads it, on a terminal and in the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from exatrkx_service.analysis.verdicts import INVALID, UNSTABLE, verdict_lines
from exatrkx_service.config import load_config

HEADINGS = {
    "option": "option",
    "concurrency": "clients",
    "n_events": "events",
    "n_failed": "failed",
    "mean": "mean [interval] / ms",
    "p50": "p50 / ms",
    "p95": "p95 / ms",
    "p99": "p99 / ms",
    "throughput": "events/s",
    "slowdown": "vs S0",
    "verdict": "verdict",
}
N_LINES = 3  # of a kind on the terminal; the report has them all


def read_summary(path: Path | str) -> pd.DataFrame:
    """Reads ``summary.csv``; a reason that is empty is no missing one."""
    return pd.read_csv(path, keep_default_na=True).fillna({"reason": ""})


def display_rows(summary: pd.DataFrame) -> list[dict[str, str]]:
    """The summary's rows as text under the keys of ``HEADINGS``; '-' where there is no number."""
    return [
        {
            "option": row.option,
            "concurrency": str(row.concurrency),
            "n_events": str(row.n_events),
            "n_failed": str(row.n_failed),
            "mean": _mean(row),
            "p50": _number(row.p50_ms),
            "p95": _number(row.p95_ms),
            "p99": _number(row.p99_ms),
            "throughput": _number(row.throughput_evt_s),
            "slowdown": "×" + _number(row.slowdown_vs_S0) if pd.notna(row.slowdown_vs_S0) else "-",
            "verdict": row.verdict,
        }
        for row in summary.itertuples()
    ]


def terminal_table(summary: pd.DataFrame) -> str:
    """The summary as a table of plain text, see ``summary.summarise``."""
    return pd.DataFrame(display_rows(summary)).rename(columns=HEADINGS).to_string(index=False)


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2f}"


def _mean(row: tuple) -> str:
    if pd.isna(row.ci95_low_ms):
        return _number(row.mean_ms)
    return f"{row.mean_ms:.2f} [{row.ci95_low_ms:.2f}, {row.ci95_high_ms:.2f}]"


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
