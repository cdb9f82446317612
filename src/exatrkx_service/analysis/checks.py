"""Is a benchmark sound? Are parts within their totals, do its results belong together?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from exatrkx_service.analysis.timings import (
    NS_PER_MS,
    SAMPLE,
    TimingsError,
    part_rows,
    total_rows,
)
from exatrkx_service.identity import INPUTS, OUTPUTS, SETTINGS, attributes_of, check_same, flatten
from exatrkx_service.measure.provenance import OWN

# Share of an event's time by which its parts may exceed it: clocks are read and rounded.
SUM_TOLERANCE = 0.001
# Of each job its own.
JOB_KEYS = (
    OUTPUTS,
    *("option", "round", "began", "load_average", "start_s", "warmup_s", "timed_s", "wall_s"),
    *(
        "statistics",
        "cells",
        "processes",
        "cold_processes",
        "warmup_sweeps",
        "driver",
        "affinities",
        OWN,
    ),
)
SPAN_TOLERANCE = timedelta(hours=12)  # jobs further apart may have met another state of the machine


def check_parts(timings: pd.DataFrame) -> None:
    """Raise ``TimingsError`` if the parts of a sample are longer than the sample: one counts twice.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
    """
    totals = total_rows(timings).set_index(SAMPLE).duration_ns
    parts = part_rows(timings).groupby(SAMPLE).duration_ns.sum()
    excess = parts / totals.reindex(parts.index) - 1
    if len(excess) and excess.max() > SUM_TOLERANCE:
        sample = excess.idxmax()
        name = ", ".join(f"{key} {value}" for key, value in zip(SAMPLE, sample, strict=True))
        raise TimingsError(
            f"timings: {name}: the parts add up to {parts[sample] / NS_PER_MS:.3f} ms, the total "
            f"is {totals[sample] / NS_PER_MS:.3f} ms"
        )


def check_inputs(
    timings: Iterable[Path | str], reference: Path | str, settings: Mapping[str, Any]
) -> None:
    """Checks that all measurements are of the reference's inputs, and of this configuration.

    Args:
        timings: the Parquet files of the samples, ``<option>/round<r>.parquet``.
        reference: the Parquet file of the reference.
        settings: of each option, what its measurement depends on of the configuration.

    Raises:
        IdentityError: a file is of other events, networks, models or settings.
    """
    check_files({path: settings[path.parent.name] for path in map(Path, timings)}, reference)


def check_files(files: Mapping[Path, Mapping[str, Any]], reference: Path | str) -> None:
    """Checks that files are of the reference's inputs, each with the settings given for it.

    Raises:
        IdentityError: a file is of other events, networks, models or settings.
    """
    expected = attributes_of(reference).get(INPUTS, {})
    for path, settings in files.items():
        found = attributes_of(path)
        check_same(found.get(INPUTS, {}), expected, str(path), str(reference))
        check_same(found.get(SETTINGS, {}), settings, str(path), "the configuration")


def environment_warnings(records: dict[str, dict[str, Any]]) -> list[str]:
    """What is not known of the jobs, or was done to them, that a reader should know.

    Args:
        records: the provenance of each job.
    """
    warnings = {}
    for record in records.values():
        if reason := record.get("git_commit_unknown"):
            warnings[f"the commit is not known: {reason}"] = None
        limits, job = record["job"].get("limits", {}), record["job"]
        quota, cores = limits.get("cpu_quota"), len(limits.get("affinity", ()))
        if quota and quota < cores:
            warnings[f"a control group grants {quota:g} of the {cores} CPUs"] = None
        if limits.get("nice", 0) > 0:
            warnings[f"the processes are nice ({limits['nice']}): others come first"] = None
        after = job.get("affinity_after", limits.get("affinity"))
        if after != limits.get("affinity"):
            warnings[f"libraries have bound a job to the CPUs {after} of {limits['affinity']}"] = (
                None
            )
    return list(warnings)


def span_warnings(records: dict[str, dict[str, Any]]) -> list[str]:
    """Says so if the jobs that are compared began further apart than ``SPAN_TOLERANCE``.

    Args:
        records: the provenance of each job under the job's name, such as ``S1/round2``.

    Returns:
        One warning, or none.
    """
    began = {job: datetime.fromisoformat(record["job"]["began"]) for job, record in records.items()}
    first, last = min(began, key=began.get), max(began, key=began.get)
    if began[last] - began[first] <= SPAN_TOLERANCE:
        return []
    return [
        f"{first} was measured on {began[first]:%Y-%m-%d %H:%M} and {last} on "
        f"{began[last]:%Y-%m-%d %H:%M} (UTC): the machine may have changed between them"
    ]


def untimed_share(records: dict[str, dict[str, Any]]) -> float:
    """Fraction of the measuring jobs' time outside their timed windows: start, warm-up, stop.

    Args:
        records: the provenance of each job.
    """
    jobs = [record["job"] for record in records.values()]
    return 1 - sum(job["timed_s"] for job in jobs) / sum(job["wall_s"] for job in jobs)


def combine_provenance(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Merge the provenance of the measuring jobs and show where they differ.

    Options are only comparable if they ran with the same versions on the same machine, so what
    all jobs share is kept once and what differs is listed per job.

    Args:
        records: the provenance of each job under the job's name, such as ``S1/round2``.

    Returns:
        ``{"common": ..., "differs": ..., "jobs": ...}``: ``common`` is nested as the records are
        and holds each key on which all jobs agree that have a value for it (an option without a
        server has no server version); ``differs`` maps a dotted key to {job: value}; ``jobs``
        holds per job what is its own by nature, ``JOB_KEYS``.
    """
    jobs: dict[str, dict[str, Any]] = {job: {} for job in records}
    values: dict[tuple[str, ...], dict[str, Any]] = {}
    for job, record in records.items():
        for key, value in flatten(record).items():
            if key[0] != "config" and not set(key).isdisjoint(JOB_KEYS):
                jobs[job][".".join(key)] = value
            elif value is not None:
                values.setdefault(key, {})[job] = value
    common: dict[str, Any] = {}
    differs: dict[str, dict[str, Any]] = {}
    for key, by_job in values.items():
        first, *others = by_job.values()
        if any(value != first for value in others):
            differs[".".join(key)] = by_job
            continue
        inner = common
        for name in key[:-1]:
            inner = inner.setdefault(name, {})
        inner[key[-1]] = first
    return {"common": common, "differs": differs, "jobs": jobs}
