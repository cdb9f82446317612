import json
from math import hypot

import pandas as pd
import pytest
from hand_made import make_summary

from exatrkx_service.analysis import figures
from exatrkx_service.analysis.comparison import (
    CHANGES_COLUMNS,
    ComparisonError,
    changes,
    comparison_lines,
    provenance_differences,
    read_run,
)

NONE = pd.DataFrame(columns=["key", "baseline", "here"])


def compared(before, after):
    return changes(before, after).set_index(["option", "concurrency"])


def test_a_cost_that_moved_by_more_than_both_intervals_has_changed():
    before = make_summary(S0=0.0, S1=2.0, S2=3.0, S3=5.0)
    table = compared(before, make_summary(S0=0.1, S1=2.4, S2=4.0, S3=4.0))
    # 0.4 is more than either half-width, 0.3, and less than both in quadrature.
    assert table.changed.tolist() == ["no change", "no change", "slower", "faster"]
    row = table.loc["S2", 1]
    assert row.difference_ms == pytest.approx(1.0)
    assert row.difference_high_ms - row.difference_ms == pytest.approx(hypot(0.3, 0.3))
    assert row.difference_ms - row.difference_low_ms == pytest.approx(hypot(0.3, 0.3))
    assert (row.baseline_cost_ms, row.cost_ms) == (3.0, 4.0)


@pytest.mark.parametrize("cost_ms", [2.0, 3.0], ids=["waits as long", "computes for longer"])
def test_a_machine_that_is_slower_as_a_whole_changes_nothing(cost_ms):
    table = compared(make_summary(S1=2.0), make_summary(control_ms=30.0, S1=cost_ms))
    row = table.loc["S1", 1]
    assert row.changed == "no change" and row.control_ms - row.baseline_control_ms == 10
    text = "\n".join(comparison_lines(table.reset_index(), NONE))
    assert "1 client: +50.0%" in text


def test_an_option_that_is_slower_on_a_slower_machine_has_changed():
    table = compared(make_summary(S1=2.0), make_summary(control_ms=30.0, S1=4.5))
    row = table.loc["S1", 1]
    assert row.changed == "slower"
    assert row.difference_slowdown == pytest.approx(0.05)
    half = hypot(0.3 / 20, 0.3 / 30)
    assert row.difference_slowdown_low == pytest.approx(0.05 - half)
    assert row.difference_slowdown_high == pytest.approx(0.05 + half)


def test_cells_of_one_run_alone_and_invalid_ones_are_named():
    before = make_summary(S0=0.0, S2=None, S3=1.0, S10=4.0, S4=None)
    after = make_summary(S0=0.0, S1=2.0, S2=9.0, S3=None, S4=None)
    table = changes(before, after)
    assert list(table.columns) == CHANGES_COLUMNS
    assert dict(zip(table.option, table.changed, strict=True)) == {
        "S0": "no change",
        "S1": "only here",
        "S2": "invalid",
        "S3": "invalid",
        "S4": "invalid",
        "S10": "only in the baseline",
    }
    assert table.option.tolist() == ["S0", "S1", "S2", "S3", "S4", "S10"]
    assert table.difference_ms.notna().tolist() == [True] + 5 * [False]
    text = "\n".join(comparison_lines(table, NONE))
    assert "only here (option with clients): S1 with 1" in text
    assert "invalid (option with clients): S2 with 1, S3 with 1, S4 with 1" in text
    assert "cells whose cost and slowdown changed: 0 of 1" in text


def test_the_same_option_under_another_load_is_another_cell():
    table = compared(make_summary(S1=1.0), make_summary(concurrency=2, S1=9.0))
    assert table.changed.to_dict() == {("S1", 1): "only in the baseline", ("S1", 2): "only here"}


def test_a_cost_without_an_interval_is_not_judged():
    table = changes(make_summary(S1=1.0), make_summary(half_ms=float("nan"), S1=9.0))
    assert table.changed.tolist() == ["not known"]


def provenance(differs=(), **common):
    return {"common": common, "differs": dict(differs), "jobs": {}}


def test_differences_of_the_provenance_are_listed_with_both_values():
    before = provenance(
        inputs={"models_sha256": {"gnn/1/model.pt": "a" * 64, "gnn/config.pbtxt": "c" * 64}},
        config={"results": "results/before", "measure": {"rounds": 1, "block_s": 1}},
        machine={"cpu": "A", "gpu": None},
        job={"server": "2.51.0", "processes": {"pipeline/17": {"affinity": [0, 1]}}},
    )
    after = provenance(
        differs={"machine.cpu": {"S1/round1": "B", "S0/round1": "A", "S2/round1": "B"}},
        inputs={"models_sha256": {"gnn/1/model.pt": "b" * 64, "gnn/config.pbtxt": "d" * 64}},
        config={"results": "results", "baseline": "x", "measure": {"rounds": 2, "block_s": 1}},
        machine={"gpu": "H100"},
        job={"server": "2.51.0"},
    )
    table = provenance_differences(before, after)
    assert list(table.itertuples(index=False, name=None)) == [
        ("machine.cpu", "A", "A; B"),
        ("machine.gpu", "", "H100"),
        ("config.measure.rounds", "1", "2"),
        ("inputs.models_sha256.gnn/config.pbtxt", "c" * 64, "d" * 64),
    ]
    assert provenance_differences(before, before).empty


def test_the_differences_of_the_provenance_come_first_on_the_terminal():
    differences = pd.DataFrame(
        [("machine.gpu", "", "H100"), ("code_sha256", "a" * 64, "b" * 64)], columns=NONE.columns
    )
    table = changes(make_summary(S0=0.0, S1=2.0), make_summary(S0=0.0, S1=4.0))
    lines = comparison_lines(table, differences)
    assert lines[:5] == [
        "differences in provenance: 2",
        "  machine.gpu: not recorded → H100",
        f"  code_sha256: {'a' * 12} → {'b' * 12}",
        "cells whose cost and slowdown changed: 1 of 2",
        "  S1, 1 client: slower by (10.0% ± 2.1%) of the control's time (×1.10 → ×1.20; cost "
        "2.00 → 4.00 ms)",
    ]
    assert comparison_lines(table, NONE)[0] == "differences in provenance: none"


def test_what_is_not_stable_says_so():
    after = make_summary(S1=4.0).assign(verdict="unstable")
    text = "\n".join(comparison_lines(changes(make_summary(S1=2.0), after), NONE))
    assert "cost 2.00 → 4.00 ms, not stable)" in text


def test_of_many_lines_the_first_are_shown():
    rows = [(f"config.key{i}", "1", "2") for i in range(40)]
    differences = pd.DataFrame(rows, columns=NONE.columns)
    lines = comparison_lines(changes(make_summary(S0=0), make_summary(S0=0)), differences)
    assert lines[15:17] == ["  config.key14: 1 → 2", "  and 25 more"]


@pytest.fixture
def folder(tmp_path):
    make_summary(S0=0.0, S1=2.0).to_csv(tmp_path / "summary.csv", index=False)
    (tmp_path / "provenance.json").write_text(json.dumps(provenance(machine={"cpu": "A"})))
    return tmp_path


def test_a_run_is_read_as_it_was_written(folder):
    summary, record = read_run(folder)
    assert changes(summary, summary).changed.tolist() == ["no change", "no change"]
    assert record["common"] == {"machine": {"cpu": "A"}}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.csv", "", "not a readable table"),
        ("summary.csv", "option,concurrency,mean_ms\nS0,1,20\n", "column 'control_ms' is missing"),
        ("provenance.json", "{", "not readable JSON"),
        ("provenance.json", "[]", "expected the keys 'common' and 'differs'"),
    ],
)
def test_files_of_something_else_are_named(folder, file, text, message):
    (folder / file).write_text(text)
    with pytest.raises(ComparisonError) as caught:
        read_run(folder)
    assert str(caught.value).startswith(f"{folder / file}: {message}")


def test_a_cell_that_occurs_twice_is_named(folder):
    summary = make_summary(S0=0.0)
    pd.concat([summary, summary]).to_csv(folder / "summary.csv", index=False)
    with pytest.raises(ComparisonError, match=r"summary\.csv: S0 with 1 client occurs twice"):
        read_run(folder)


def test_the_figure_marks_what_changed():
    table = changes(make_summary(S0=0.0, S1=2.0, S2=3.0), make_summary(S0=0.1, S1=4.0, S2=1.0))
    costs, shifts = figures.changes(table).axes
    drawn = {bars.get_label(): bars.lines[0].get_xdata() for bars in shifts.containers}
    assert {kind: values.tolist() for kind, values in drawn.items()} == {
        "no change": pytest.approx([0.005]),
        "slower": pytest.approx([0.1]),
        "faster": pytest.approx([-0.1]),
    }
    assert shifts.get_title("left") == "2 of 3 changed beyond their interval"
    labels = [label.get_text() for label in costs.get_yticklabels()]
    assert labels == ["S0 with 1", "S1 with 1", "S2 with 1"]


def test_without_a_common_cell_the_figure_says_so():
    figure = figures.changes(changes(make_summary(S1=2.0), make_summary(S2=2.0)))
    assert "No option has a cost in both runs" in figure.axes[0].texts[0].get_text()
