"""This build against another: what is sent to both, and what is made of it."""

import shutil

import numpy as np
import pandas as pd
import pytest

from exatrkx_service.measure import speed
from exatrkx_service.measure.speed import COLUMNS, EVENT, BuildError, compare_builds, speed_table
from exatrkx_service.models.export import read_check_events


def rows_of(times, labels=lambda build, event: "same"):
    """Rows of two options, two events and three repetitions; times in ms by build and stage."""
    return pd.DataFrame(
        [
            (
                *(build, option, repetition, event, stage, option == "S3" and stage == "gnn"),
                *(round(ms * 1e6), labels(build, event)),
            )
            for (build, option), stages in times.items()
            for repetition in range(3)
            for event in (0, 1)
            for stage, ms in {**stages, EVENT: sum(stages.values())}.items()
        ],
        columns=list(COLUMNS),
    )


TIMES = {
    ("this", "S0"): {"gnn": 2.0, "labeling": 1.0},
    ("other", "S0"): {"gnn": 4.0, "labeling": 1.0},
    ("this", "S3"): {"gnn": 2.5, "labeling": 1.5},
    ("other", "S3"): {"gnn": 5.0, "labeling": 2.0},
}


def test_times_overheads_and_costs_are_compared():
    table = speed_table(rows_of(TIMES), 0.95).set_index(["option", "stage", "quantity"])
    assert table.loc[("S0", "gnn", "time"), "ratio"] == pytest.approx(0.5)
    assert table.loc[("S0", EVENT, "time"), ["this_ms", "other_ms"]].tolist() == [3.0, 5.0]
    assert table.loc[("S3", "gnn", "overhead"), "this_ms"] == pytest.approx(0.5)
    assert table.loc[("S3", "gnn", "overhead"), "ratio"] == pytest.approx(0.5)
    assert table.loc[("S3", EVENT, "cost"), ["this_ms", "other_ms"]].tolist() == [1.0, 2.0]
    assert (table["same_tracks"] == 1).all()
    assert ("S0", "gnn", "overhead") not in table.index
    assert ("S3", "labeling", "overhead") not in table.index  # it is not served
    assert (table["low"] <= table["ratio"]).all() and (table["ratio"] <= table["high"]).all()


def test_events_with_other_tracks_are_counted():
    rows = rows_of(TIMES, lambda build, event: build if event else "same")
    assert (speed_table(rows, 0.95)["same_tracks"] == 0.5).all()


def test_the_builds_take_turns_in_random_order(root, monkeypatch):
    events = {number: np.zeros((number + 1, 3), np.float32) for number in range(5)}
    calls = []

    class Fake:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            return lambda option, points: (
                calls.append((self.name, option, len(points))) or ("x", {"gnn": len(points)}, set())
            )

        def __exit__(self, *_):
            pass

    names = iter(("this", "other"))
    monkeypatch.setattr(speed, "_build", lambda folder, options: Fake(next(names)))
    rows = compare_builds(root, events, ["S0", "S4"], 4, lambda _: None)
    calls = calls[2 * 2 * speed.N_WARM_UP :]
    pairs = list(zip(calls[::2], calls[1::2], strict=True))
    assert all(a[1:] == b[1:] and {a[0], b[0]} == {"this", "other"} for a, b in pairs)
    assert {a[0] for a, _ in pairs} == {"this", "other"}  # either goes first
    assert len(pairs) == 4 * 5 * 2 and len(rows) == 2 * 2 * len(pairs)
    assert (rows.groupby(["build", "option", "event"]).repetition.nunique() == 4).all()
    event = rows[rows.stage == EVENT]
    assert (event.duration_ns == event.event + 1).all()


def test_a_build_that_can_not_be_run_is_named(root, tmp_path):
    for name in ("src", "config", "model_repo", "workflow"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src/exatrkx_service/client/placement.py").write_text("raise OSError('no disk')")
    with (
        pytest.raises(BuildError, match=rf"{tmp_path}: this build can't be run: OSError: no disk"),
        speed._build(tmp_path, ["S0"]),
    ):
        pass
    (tmp_path / "config/config.yaml").write_text("options: {S0: {serve: []}}\nwrong: 1")
    with (
        pytest.raises(BuildError, match=r"this build can't be run: ConfigError: .*wrong"),
        speed._build(tmp_path, ["S0"]),
    ):
        pass
    (tmp_path / "config/config.yaml").write_text(
        "options: {S0: {serve: []}, S5: {serve: fused, server: {instances: 2}}}"
    )
    with (
        pytest.raises(BuildError, match=r"ValueError: speed.options: S5 has a server of its own"),
        speed._build(tmp_path, ["S0", "S5"]),
    ):
        pass


def test_a_build_answers_with_its_tracks_and_ends(root):
    points = read_check_events()[0]
    with speed._build(root, ["S0"]) as run:
        labels, times, served = run("S0", points)
        assert run("S0", points)[0] == labels and served == set()
    assert list(times) == ["embedding", "building", "filtering", "gnn", "labeling"]
    assert all(ns > 0 for ns in times.values())
