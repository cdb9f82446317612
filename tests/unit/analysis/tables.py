"""The tables of a synthetic benchmark."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from synthetic import SETTINGS, make_blocks, make_jobs, make_reference

from exatrkx_service.analysis.breakdown import breakdown
from exatrkx_service.analysis.cells import comparable
from exatrkx_service.analysis.summary import cost_table, summarise


class Tables(NamedTuple):
    """The tables of a benchmark, and the samples that figures show."""

    summary: pd.DataFrame
    parts: pd.DataFrame
    cost: pd.DataFrame
    shown: pd.DataFrame
    blocks: pd.DataFrame


def make_tables(timings, blocks=None, reference=None, jobs=None) -> Tables:
    """All tables of some samples."""
    blocks = make_blocks(timings) if blocks is None else blocks
    reference = make_reference(timings) if reference is None else reference
    jobs = make_jobs(timings) if jobs is None else jobs
    summary = summarise(timings, blocks, reference, jobs, **SETTINGS)
    shown = comparable(timings, blocks, summary, SETTINGS["min_blocks"])
    parts = breakdown(shown, confidence_level=SETTINGS["confidence_level"])
    return Tables(summary, parts, cost_table(summary), shown, blocks)
