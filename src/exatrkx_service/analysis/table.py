"""The summary as a physicist reads it, on a terminal and in the report."""

from __future__ import annotations

import pandas as pd

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


if __name__ == "__main__":
    import sys
    from pathlib import Path

    folder = Path(sys.argv[1])
    print(terminal_table(pd.read_csv(folder / "summary.csv")))
    print(f"\nreport: {(folder / 'report.html').resolve()}")
