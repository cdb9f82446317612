"""Tables and figure of the open loop."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from exatrkx_service.analysis.capacity import (
    CAPACITY_COLUMNS,
    capacity_table,
    check_capacity,
    rates_table,
    read_capacity,
    read_rates,
)
from exatrkx_service.analysis.figures import latency_vs_rate
from exatrkx_service.identity import INPUTS, SETTINGS, IdentityError
from exatrkx_service.measure.capacity import ROW_COLUMNS
from exatrkx_service.measure.trial import RATE_COLUMNS


def make_rates(option, capacity, problem=""):
    """Rates around a capacity, one of them undecided, and a flood."""
    rates = capacity * np.array([0.5, 1, 1.05, 1.1, 2])
    verdicts = np.array(["under", "under", "undecided", "over", "over"])
    slow = np.where(verdicts == "under", 1.0, 8.0)
    return pd.DataFrame(
        {
            "option": option,
            "rate_evt_s": rates,
            "offered_evt_s": 1.02 * rates,
            "achieved_evt_s": np.minimum(1.02 * rates, 1.08 * capacity),
            "n_queries": 500,
            "n_over": np.where(verdicts == "over", 90, 0),
            "p50_ms": 20 * slow,
            "p99_ms": 80 * slow,
            "quantile_ms": [60, 80, 110, 600, np.nan],
            "dispatch_p50_ms": 0.1,
            "dispatch_p99_ms": slow,
            "verdict": verdicts,
            "disturbed": "",
            "problem": problem,
        }
    )


def make_capacity(option, capacity, reason=""):
    row = {"option": option, "limit_ms": 100, "quantile": 0.99, "capacity_evt_s": capacity}
    row |= {"low_evt_s": capacity, "high_evt_s": 1.1 * capacity, "certified": not reason}
    row |= {"n_queries": 500, "n_over": 0, "p50_ms": 20.0, "p99_ms": 80.0}
    return row | {"dispatch_p99_ms": 1.0, "reason": reason}


@pytest.fixture
def files(tmp_path):
    """The results of three jobs; requests of S3 failed."""
    for option, capacity, problem in (("S10", 60, ""), ("S3", np.nan, "1 failed"), ("S0", 40, "")):
        rows = make_rates(option, 50 if problem else capacity, problem)
        rows.to_csv(tmp_path / f"{option}.csv", index=False)
        record = {"job": {"capacity": make_capacity(option, capacity, problem)}}
        (tmp_path / f"{option}.json").write_text(json.dumps(record))
        requests = pd.DataFrame({"option": [option]})
        requests.attrs = {INPUTS: {"events_sha256": "e"}, SETTINGS: {"load": {"limit_ms": 100}}}
        requests.to_parquet(tmp_path / f"{option}.parquet")
    return tmp_path


@pytest.fixture
def tables(files):
    capacity_table(files.glob("*.json")).to_csv(files / "capacity", index=False)
    rates_table(files.glob("*.csv")).to_csv(files / "rates", index=False)
    return read_capacity(files / "capacity"), read_rates(files / "rates")


def test_the_tables_hold_all_options_in_their_order(tables):
    capacity, rates = tables
    assert tuple(capacity.columns) == CAPACITY_COLUMNS and tuple(rates.columns) == RATE_COLUMNS
    assert capacity.option.tolist() == rates.option.unique().tolist() == ["S0", "S3", "S10"]
    assert capacity.certified.tolist() == [True, False, True]
    assert capacity.reason.tolist() == ["", "1 failed", ""]
    assert len(rates) == 15 and rates.groupby("option").rate_evt_s.is_monotonic_increasing.all()


def test_results_of_other_settings_or_events_are_refused(files):
    reference = files / "reference"
    table = pd.DataFrame({"event": [0]})
    table.attrs = {INPUTS: {"events_sha256": "e"}}
    table.to_parquet(reference)
    paths = sorted(files.glob("*.parquet"))
    settings = {path.stem: {"load": {"limit_ms": 100}} for path in paths}
    check_capacity(paths, reference, settings)
    with pytest.raises(IdentityError, match=r"S3.parquet: load.limit_ms: 100, but 50 in the conf"):
        check_capacity(paths, reference, settings | {"S3": {"load": {"limit_ms": 50}}})
    table.attrs = {INPUTS: {"events_sha256": "other"}}
    table.to_parquet(reference)
    with pytest.raises(IdentityError, match="events_sha256: e, but other"):
        check_capacity(paths, reference, settings)


def test_the_figure_shows_valid_options_the_limit_and_the_capacities(tables):
    figure = latency_vs_rate(*tables)
    slow, median, kept = figure.axes
    assert slow.get_ylabel() == "p99 of the latency [ms]"
    for axes in (slow, median):
        assert [list(line.get_ydata()) for line in axes.lines if line.get_ls() == ":"] == [
            [100] * 2
        ]
    stars = [line.get_xydata()[0].tolist() for line in slow.lines if line.get_marker() == "*"]
    assert stars == [[40, 80], [60, 80]]
    assert max(line.get_ydata().max() for line in kept.lines) <= 100.001
    assert "invalid, not shown: S3" in kept.get_xlabel()
    assert [text.get_text() for text in kept.texts] == ["40/s", "60/s"]
    assert "hollow" not in kept.get_xlabel()


def test_a_star_that_is_not_certified_is_hollow(tables):
    capacity, rates = tables
    capacity.loc[capacity.option == "S10", ["certified", "reason"]] = [False, "of a disturbance"]
    figure = latency_vs_rate(capacity, rates)
    for axes in figure.axes:
        stars = [line for line in axes.lines if line.get_marker() == "*"]
        assert [star.get_markerfacecolor() == "white" for star in stars] == [False, True]
    below = " ".join(figure.axes[-1].get_xlabel().split())
    assert "hollow star, S10: not certified, may do more, see reason in capacity.csv" in below


@pytest.mark.parametrize("capacity_of_s10", [60, 40.1])
def test_no_text_of_the_figure_lies_on_another(tables, capacity_of_s10):
    own = [table.option == "S10" for table in tables]
    for table, rows in zip(tables, own, strict=True):
        rate = [name for name in table if name.endswith("evt_s")]
        table.loc[rows, rate] *= capacity_of_s10 / 60
    figure = latency_vs_rate(*tables)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [axes.title for axes in figure.axes] + [t for a in figure.axes for t in a.texts]
    for axes in figure.axes:
        texts += [axes.xaxis.label, axes.yaxis.label, axes._left_title]
        shown = axes.get_xticklabels() if axes is figure.axes[-1] else []
        low, high = axes.get_xlim()
        texts += [label for label in shown if low <= label.get_position()[0] <= high]
    texts += figure.legends[0].get_texts()
    texts = [text for text in texts if text.get_text().strip()]
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in texts]  # no arrow
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))


def test_without_a_valid_option_the_figure_says_so(tables):
    capacity, rates = tables
    none = latency_vs_rate(capacity[capacity.option == "S3"], rates[rates.option == "S3"])
    assert none.axes[0].texts[0].get_text() == "No option has valid samples."


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("`capacity.csv`", CAPACITY_COLUMNS),
        ("`capacity_rates.csv`, `capacity/<option>.csv`", RATE_COLUMNS),
        ("`capacity/<option>.parquet`", ROW_COLUMNS),
    ],
)
def test_every_column_of_the_open_loop_is_described(root, heading, columns):
    text = (root / "results" / "README.md").read_text()
    table = text.split(f"\n## {heading}\n")[1].split("| column |")[1].split("\n\n")[0]
    names = [cell for row in table.splitlines() for cell in row.split("|")[1:2]]
    assert sorted(re.findall(r"`(\w+)`", " ".join(names))) == sorted(columns)
