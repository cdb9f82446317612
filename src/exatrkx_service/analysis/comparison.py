"""Two runs compared: which costs changed beyond their interval, and what else is different.

Times of two runs that are minutes apart can't be compared: a machine drifts by more than most
changes. A cost can, for each run measured it against its own control within the same seconds. But a
machine that is slower as a whole computes for longer in what a server adds as well. That drops out
of the slowdown, the cost over the control's time, which in turn changes with the machine where a
server adds a wait that does not depend on it. So a cell has changed where both did. What slows down
S0 as much as an option is in neither: it shows in the mean of the control alone, together with the
drift of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.analysis.cells import INVALID, STABLE, clients
from exatrkx_service.analysis.summary import COST, SLOWDOWN, sort_options
from exatrkx_service.analysis.table import TableError, number, read_summary
from exatrkx_service.analysis.timings import BASELINE, CELL
from exatrkx_service.identity import flatten

SLOWER, FASTER, NO_CHANGE, NOT_KNOWN = "slower", "faster", "no change", "not known"
ONLY_HERE, ONLY_BASELINE = "only here", "only in the baseline"
_VALUES = [
    *("mean_ms", "control_ms", "throughput_evt_s"),
    *(*COST, *SLOWDOWN, "verdict"),
]
_OF_BASELINE = [f"baseline_{name}" for name in _VALUES]
_DIFFERENCE_MS = ["difference_ms", "difference_low_ms", "difference_high_ms"]
DIFFERENCE_SLOWDOWN = [f"difference_slowdown{part}" for part in ("", "_low", "_high")]
CHANGES_COLUMNS = [
    *CELL,
    *(name for pair in zip(_OF_BASELINE, _VALUES, strict=True) for name in pair),
    *(*_DIFFERENCE_MS, *DIFFERENCE_SLOWDOWN, "changed"),
]
DIFFERENCES_COLUMNS = ["key", "baseline", "here"]
# The order in which differences of the provenance are shown; others come after these.
_ORDER = ("machine", "software", "git_commit", "code_sha256", "config", "inputs")
# What differs from run to run by nature, or has no part in a summary.
_NO_DIFFERENCE = ("config.results", "config.baseline", "config.coverage.", "job.processes.")
_N_DIGITS = 12  # of a digest on the terminal
_N_LINES = 15  # of a kind on the terminal; the tables have them all


class ComparisonError(ValueError):
    """A folder that does not hold the results of a run; the message names the file."""


def read_run(folder: Path | str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Reads the summary and the provenance of a run.

    Raises:
        ComparisonError: a file can't be read, or is not what this version of the workflow writes.
    """
    path = Path(folder, "summary.csv")
    try:
        summary = read_summary(path)
    except TableError as error:
        raise ComparisonError(str(error)) from error
    except OSError as error:
        raise ComparisonError(f"{path}: not a readable table: {error}") from error
    if missing := [name for name in [*CELL, *_VALUES] if name not in summary]:
        raise ComparisonError(
            f"{path}: column '{missing[0]}' is missing; expected a summary of a version that "
            "measures each option beside its control: measure that run again"
        )
    if summary.duplicated(CELL).any():
        row = summary[summary.duplicated(CELL)].iloc[0]
        raise ComparisonError(f"{path}: {row.option} with {clients(row.concurrency)} occurs twice")
    path = Path(folder, "provenance.json")
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ComparisonError(f"{path}: not readable JSON: {error}") from error
    if not isinstance(provenance, dict) or not {"common", "differs"} <= set(provenance):
        raise ComparisonError(f"{path}: expected the keys 'common' and 'differs'")
    return summary, provenance


def changes(baseline: pd.DataFrame, here: pd.DataFrame) -> pd.DataFrame:
    """What changed from one run to another, per option and concurrency.

    The interval of a difference has the half-widths of both runs, added in quadrature: they are
    independent. With the level at which they were made, 0.95 unless changed, at most 1 in 20 cells
    in which nothing changed lies beyond it.

    Args:
        baseline: the summary of the run that is compared with, see ``summary.summarise``.
        here: that of the other one.

    Returns:
        Columns ``CHANGES_COLUMNS``, as results/README.md describes them; ``changed`` is
        ``slower`` or ``faster`` (cost and slowdown, both beyond their intervals), ``no change``,
        ``only here``, ``only in the baseline``, ``invalid`` (in one of them) or ``not known`` (a
        cost without an interval).
    """
    columns = [*CELL, *_VALUES]
    table = here[columns].merge(
        baseline[columns].rename(columns=dict(zip(_VALUES, _OF_BASELINE, strict=True))),
        on=CELL,
        how="outer",
        validate="one_to_one",
        indicator="where",
    )
    for names, found in (
        (COST, _DIFFERENCE_MS),
        (SLOWDOWN, DIFFERENCE_SLOWDOWN),
    ):
        value, low, high = (table[name] for name in names)
        then, then_low, then_high = (table[f"baseline_{name}"] for name in names)
        half = np.hypot(high - low, then_high - then_low) / 2
        for name, shift in zip(found, (0, -half, half), strict=True):
            table[name] = value - then + shift
    cases = [
        (table["where"] == "left_only", ONLY_HERE),
        (table["where"] == "right_only", ONLY_BASELINE),
        ((table.verdict == INVALID) | (table.baseline_verdict == INVALID), INVALID),
        ((table.difference_low_ms > 0) & (table.difference_slowdown_low > 0), SLOWER),
        ((table.difference_high_ms < 0) & (table.difference_slowdown_high < 0), FASTER),
        (table.difference_slowdown_low.isna(), NOT_KNOWN),
    ]
    table["changed"] = np.select(*map(list, zip(*cases, strict=True)), default=NO_CHANGE)
    return sort_options(table[CHANGES_COLUMNS])


def provenance_differences(baseline: Mapping[str, Any], here: Mapping[str, Any]) -> pd.DataFrame:
    """What two runs say differently of the machine, the software, the settings and the inputs.

    Args:
        baseline: of the run that is compared with, see ``checks.combine_provenance``.
        here: of the other one.

    Returns:
        Columns ``DIFFERENCES_COLUMNS``: a dotted key and both values as text, which are empty where
        a run did not record it. Where the jobs of a run differ, all of their values.
    """
    recorded = [_texts(record) for record in (baseline, here)]
    rank = {name: place for place, name in enumerate(_ORDER)}
    keys = sorted(
        {key: None for texts in recorded for key in texts if not _is_own(key)},
        key=lambda key: rank.get(key.split(".")[0], len(rank)),
    )
    rows = [(key, *(texts.get(key, "") for texts in recorded)) for key in keys]
    return pd.DataFrame([r for r in rows if r[1] != r[2]], columns=DIFFERENCES_COLUMNS)


def _is_own(key: str) -> bool:
    # TorchScript writes another file of the same network; `inputs.networks` says what is in it.
    exported = key.startswith("inputs.models_sha256.") and key.endswith("/model.pt")
    return exported or key.startswith(_NO_DIFFERENCE)


def _texts(provenance: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        ".".join(key): str(value)
        for key, value in flatten(provenance["common"]).items()
        if value is not None
    }
    for key, by_job in provenance["differs"].items():
        texts[key] = "; ".join(sorted(set(map(str, by_job.values()))))
    return texts


def comparison_lines(table: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """What is said on the terminal: the differences of the provenance, then those of the cells.

    Args:
        table: see ``changes``.
        differences: see ``provenance_differences``.
    """
    lines = [f"differences in provenance: {len(differences) or 'none'}"]
    lines += _first([f"{row.key}: {_values(row)}" for row in differences.itertuples()])
    both = table[table.changed.isin([SLOWER, FASTER, NO_CHANGE])]
    beyond = both[both.changed != NO_CHANGE]
    lines.append(f"cells whose cost and slowdown changed: {len(beyond)} of {len(both)}")
    lines += _first([_change(row) for row in beyond.itertuples()])
    if len(both):
        lines.append("(beyond their intervals; at the level 0.95 at most 1 in 20 by chance)")
    for kind in (ONLY_HERE, ONLY_BASELINE, INVALID, NOT_KNOWN):
        rows = table[table.changed == kind]
        if len(rows):
            cells = ", ".join(f"{row.option} with {row.concurrency}" for row in rows.itertuples())
            lines.append(f"{kind} (option with clients): {cells}")
    return lines + _controls(table)


def _values(row: Any) -> str:
    return " → ".join(_short(text, row.key) for text in (row.baseline, row.here))


def _short(text: str, key: str) -> str:
    if "sha256" in key:
        text = "; ".join(part[:_N_DIGITS] for part in text.split("; "))
    return text or "not recorded"


def _change(row: Any) -> str:
    half = (row.difference_slowdown_high - row.difference_slowdown_low) / 2
    unstable = "" if row.verdict == row.baseline_verdict == STABLE else ", not stable"
    return (
        f"{row.option}, {clients(row.concurrency)}: {row.changed} by "
        f"({abs(row.difference_slowdown):.1%} ± {half:.1%}) of the control's time "
        f"(×{number(row.baseline_slowdown_vs_S0)} → ×{number(row.slowdown_vs_S0)}; cost "
        f"{number(row.baseline_cost_ms)} → {number(row.cost_ms)} ms{unstable})"
    )


def _first(lines: list[str]) -> list[str]:
    more = [f"and {len(lines) - _N_LINES} more"] if len(lines) > _N_LINES else []
    return [f"  {line}" for line in [*lines[:_N_LINES], *more]]


def _controls(table: pd.DataFrame) -> list[str]:
    """How much the control itself moved, which no cost shows."""
    lines = []
    for concurrency, rows in table.groupby("concurrency"):
        shifts = (rows.control_ms / rows.baseline_control_ms - 1).dropna()
        if len(shifts):
            lines.append(
                f"  {clients(concurrency)}: {shifts.median():+.1%} ({shifts.min():+.1%} to "
                f"{shifts.max():+.1%} beside the options)"
            )
    head = f"the control ({BASELINE}) itself took more or less time, by the machine or by its code:"
    return [head, *lines] if lines else []
