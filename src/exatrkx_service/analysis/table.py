"""The summary as a physicist reads it, on a terminal and in the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

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
    "tracks": "tracks",
}
N_WARNINGS = 3  # shown on the terminal; the report has them all


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
            "tracks": "identical" if row.tracks_identical else "DIFFER",
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


def terminal_warnings(warnings: Sequence[str]) -> str:
    """What ``checks.stability_warnings`` found, in a few lines; empty without warnings."""
    if not warnings:
        return ""
    lines = [f"{len(warnings)} warning{'s' * (len(warnings) > 1)}:", *warnings[:N_WARNINGS]]
    if len(warnings) > N_WARNINGS:
        lines.append(f"and {len(warnings) - N_WARNINGS} more: see the report")
    return "\n  ".join(lines)


def main(files: Sequence[Path]) -> None:
    """Prints the summary, the warnings and the place of the report.

    Args:
        files: the configuration files of the run, overlays last.

    Raises:
        ConfigError: the files hold no valid configuration.
    """
    folder = results_folder(files)
    print(terminal_table(pd.read_csv(folder / "summary.csv")))
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    if warnings := terminal_warnings(provenance["warnings"]):
        print(f"\n{warnings}")
    print(f"\nreport: {(folder / 'report.html').resolve()}")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
