"""One self-contained HTML page about a benchmark: what was measured, whether it holds, results."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pandas as pd
import yaml
from docutils.core import publish_parts
from docutils.utils import SystemMessage

from exatrkx_service.analysis.cells import INVALID, UNSTABLE, clients, verdict_lines
from exatrkx_service.analysis.computing import computing_checks
from exatrkx_service.analysis.facts import run_facts
from exatrkx_service.analysis.machine import affinity_rows, machine_rows
from exatrkx_service.analysis.physics import DEFINITIONS, TIMES, tracking_performance
from exatrkx_service.analysis.summary import MIN_SAMPLES
from exatrkx_service.analysis.table import display_rows, with_interval
from exatrkx_service.analysis.their_model import their_checks, with_other_tracks
from exatrkx_service.analysis.timings import BASELINE
from exatrkx_service.analysis.verdicts import A_A_LEVEL, UNATTRIBUTED_TARGET
from exatrkx_service.measure.host import LIMITS

_TEMPLATES = Path(__file__).parent / "templates"


class ReportError(ValueError):
    """The report can't be made; the message names the figure or the file."""


def render(
    summary: pd.DataFrame,
    breakdown: pd.DataFrame,
    figures: dict[str, Path],
    captions: dict[str, Path],
    provenance: dict[str, Any],
    *,
    physics: pd.DataFrame | None,
    sample: dict[str, Any],
    blocks: pd.DataFrame,
    config: dict[str, Any],
    computing: list[dict[str, Any]],
    unattributed: float,
    warnings: list[str],
) -> str:
    """Render the report.

    Args:
        summary: see ``summary.summarise``.
        breakdown: see ``breakdown.breakdown``.
        figures: PNG file of each figure, in the order of the page.
        captions: reStructuredText file of each figure's caption; it is a Jinja template that sees
            ``snakemake.config``, as in Snakemake's own report.
        provenance: ``common``, ``differs`` and ``jobs``, see ``checks.combine_provenance``.
        physics: see ``physics.physics_table``; None where the truth is not known.
        sample: what was measured, see ``events.sample.describe``.
        blocks: see ``timings.BLOCK_COLUMNS``.
        config: the configuration of the benchmark, as validated.
        computing: rows of ``computing.computing``.
        unattributed: largest share of a cell's time in no part, see ``breakdown``.
        warnings: from ``checks.environment_warnings`` and ``checks.span_warnings``.

    Returns:
        The page; it refers to nothing outside itself.

    Raises:
        ReportError: a figure has no caption or one of the files can't be read.
    """
    shown = [
        {
            "name": name,
            "image": base64.b64encode(_read(Path(path), name)).decode(),
            "caption": caption_html(_caption_of(name, captions), config),
        }
        for name, path in figures.items()
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    common = provenance["common"]
    return environment.get_template("report.html.jinja").render(
        config=config,
        facts=run_facts(
            provenance,
            needs_server=any(option["serve"] for option in config["options"].values()),
        ),
        min_samples=MIN_SAMPLES,
        config_yaml=yaml.safe_dump(config, sort_keys=False),
        options=list(dict.fromkeys(summary.option)),
        concurrencies=sorted(set(summary.concurrency)),
        checks=validity(summary, config, provenance["differs"], computing, unattributed, warnings),
        summary=display_rows(summary),
        machine=machine_rows(blocks, config["measure"]["min_blocks"]),
        affinities=affinity_rows(provenance["jobs"]),
        limits=LIMITS,
        sample=sample_rows(sample, config["events"]),
        definitions=DEFINITIONS,
        methods=[] if physics is None else list(dict.fromkeys(physics.method)),
        other_tracks=with_other_tracks(summary),
        tracking=[] if physics is None else tracking_rows(physics),
        figures=shown,
        breakdown=breakdown.to_dict("records"),
        provenance=list(_flat(common)),
        differs=provenance["differs"],
        commit=next((v for k, v in _flat(common) if k.endswith("git_commit")), None),
    )


def sample_rows(sample: dict[str, Any], events: dict[str, Any]) -> dict[str, str]:
    """What was measured, by name, for the report.

    Args:
        sample: see ``events.sample.describe``.
        events: the section of the configuration.
    """
    if sample["path"] is None:
        made = f"{events['process']}, generated with seed {events['seed']}"
        made += f", pile-up {events['pileup']}" if events["pileup"] else ""
    else:
        made = f"{sample['source']}, from {sample['path']}"
    rows = {"Events": f"{sample['n_events']}: {made}"}
    sizes = sample["space_points"]
    rows["Space points of an event"] = (
        f"{sizes['mean']:.0f} on average, {sizes['min']} to {sizes['max']}"
    )
    for name, key, unit in (("r", "r_mm", "mm"), ("φ", "phi_rad", "rad"), ("z", "z_mm", "mm")):
        low, high = sample[key]["min"], sample[key]["max"]
        rows[name] = "-" if low is None else f"{low:.4g} to {high:.4g} {unit}"
    if not sample["truth"]:
        rows["Truth"] = "not known: tracking performance was not measured"
    elif sample["matched"] is not None:
        rows["Truth"] = (
            f"{sample['particles_mean']:.0f} particles of an event; one of them made the space "
            f"point in {sample['matched']:.1%}"
        )
    return rows


def validity(
    summary: pd.DataFrame,
    config: dict[str, Any],
    differs: dict[str, dict[str, Any]],
    computing: list[dict[str, Any]],
    unattributed: float,
    warnings: list[str],
) -> list[dict[str, Any]]:
    """The checks of a benchmark as rows of the report.

    Returns:
        One dict per check: ``name``, ``state`` ('ok', 'warning' or 'failed'), ``text`` and
        ``details`` (list of lines).
    """
    invalid, unstable = (verdict_lines(summary, verdict) for verdict in (INVALID, UNSTABLE))
    stable_text = (
        f"{len(unstable)} of {len(summary)} cells may hold something else than the option, or are "
        "not known well."
        if unstable
        else "No cell was disturbed, and each cost is known to the precision asked for: "
        f"{config['measure']['precision']:.1%} of its control's time."
    )
    if config["measure"]["rounds"] < 2:
        stable_text += " One round can't say whether another job would find the same costs."
    return [
        a_a_check(summary, config["measure"]["precision"]),
        {
            "name": "Valid",
            "state": "failed" if invalid else "ok",
            "text": f"{len(invalid)} of {len(summary)} cells have no numbers: requests failed or "
            "were turned away, the tracks are not those of the pipeline in one process, or S0 "
            "differs from itself."
            if invalid
            else "No request failed, and every option of ours gave the tracks that the pipeline "
            "finds in one process, in every event.",
            "details": invalid,
        },
        *their_checks(summary, config),
        {
            "name": "Stable",
            "state": "warning" if unstable else "ok",
            "text": stable_text,
            "details": unstable,
        },
        *computing_checks(computing),
        {
            "name": "Parts add up",
            "state": "ok" if unattributed <= UNATTRIBUTED_TARGET else "warning",
            "text": "Largest share of the time of an option that is in no part: "
            f"{unattributed:.2%} (aim: at most {UNATTRIBUTED_TARGET:.0%}).",
            "details": [],
        },
        {
            "name": "Known",
            "state": "warning" if warnings else "ok",
            "text": "What is not known of the run, or limited it:"
            if warnings
            else "The commit is known, and no limit was set to the machine.",
            "details": warnings,
        },
        {
            "name": "Same set-up",
            "state": "warning" if differs else "ok",
            "text": "The jobs' provenance differs in these keys; see below."
            if differs
            else "All jobs recorded the same versions and machine.",
            "details": list(differs),
        },
    ]


def a_a_check(summary: pd.DataFrame, precision: float) -> dict[str, Any]:
    """The check of the comparison itself: S0 measured against S0 must cost nothing.

    Args:
        summary: see ``summary.summarise``.
        precision: see ``verdicts.verdicts``.
    """
    rows = summary[summary.option == BASELINE]
    if rows.empty:
        state, text = "warning", f"{BASELINE} was not measured: no A/A row checks the comparison."
    elif (rows.verdict == INVALID).any():
        state, text = "failed", "S0 against itself does not cost zero, or has no numbers."
    else:
        state, text = (
            "ok",
            "S0 against itself, measured as each option is, must cost zero. It fails where it is "
            f"off by more than {precision:.1%} of its time and by more than chance at the level "
            f"{A_A_LEVEL:g} [ms]:",
        )
    details = [
        f"{clients(row.concurrency)}: "
        + (row.reason if row.verdict == INVALID else _a_a_cost(row, precision))
        for row in rows.itertuples()
    ]
    return {"name": "A/A", "state": state, "text": text, "details": details}


def _a_a_cost(row: Any, precision: float) -> str:
    """The cost of S0 against itself, and if its interval leaves out zero why that is no fault."""
    text = with_interval(row.cost_ms, row.cost_low_ms, row.cost_high_ms, sign="+")
    if not (row.cost_low_ms > 0 or row.cost_high_ms < 0):
        return text
    # Beyond both it would be invalid.
    if abs(row.cost_ms) <= precision * row.control_ms:
        return f"{text}, beyond its interval, within {precision:.1%} of its time"
    return f"{text}, beyond its interval, within chance at {A_A_LEVEL:g}"


def tracking_rows(physics: pd.DataFrame) -> list[dict[str, Any]]:
    """The overall numbers of tracking performance, for the report.

    Args:
        physics: see ``physics.physics_table``.

    Returns:
        One dict per quantity: ``name``, ``is_edges`` (bool: of the graph, not of tracks), and
        ``cells``, one text per method with value and interval, '-' where there is none.
    """
    methods = {name: tracking_performance(physics, name) for name in dict.fromkeys(physics.method)}
    for name, numbers in methods.items():
        times = physics[(physics.method == name) & physics.quantity.isin(TIMES)]
        for row in times.itertuples():
            title = f"time per event, {row.quantity.split('_')[1]} / ms"
            numbers[title] = {"value": row.value, "low": row.low, "high": row.high}
    names = dict.fromkeys(name for numbers in methods.values() for name in numbers)
    return [
        {
            "name": name,
            "is_edges": name.startswith("edge"),
            "cells": [_with_interval(numbers.get(name)) for numbers in methods.values()],
        }
        for name in names
    ]


def _with_interval(number: dict[str, Any] | None) -> str:
    if number is None or pd.isna(number["value"]):
        return "-"
    digits = 4 if "total" in number else 2
    text = f"{number['value']:.{digits}f}"
    if pd.isna(number["low"]):
        return text
    return f"{text} [{number['low']:.{digits}f}, {number['high']:.{digits}f}]"


def caption_html(path: Path, config: dict[str, Any]) -> str:
    """The caption as HTML; the file is a Jinja template in reStructuredText.

    Raises:
        ReportError: the file can't be read, or is not a template or reStructuredText.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    try:
        text = environment.from_string(_read(path, path.stem).decode())
        return publish_parts(
            text.render(snakemake=SimpleNamespace(config=config)),
            writer="html5",
            settings_overrides={
                "file_insertion_enabled": False,
                "raw_enabled": False,
                "halt_level": 2,  # a warning in a caption is an error here
                "report_level": 5,
            },
        )["body"]
    except (jinja2.TemplateError, SystemMessage) as error:
        raise ReportError(f"{path}: {error}") from error


def _caption_of(name: str, captions: dict[str, Path]) -> Path:
    if name not in captions:
        raise ReportError(f"figure '{name}': no caption; expected one of {', '.join(captions)}")
    return Path(captions[name])


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReportError(f"{name}: {path} can't be read: {error.strerror}") from error


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
