import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from exatrkx_service.analysis.table import (
    TableError,
    display_rows,
    main,
    read_summary,
    read_table,
    terminal_table,
)
from exatrkx_service.config import ConfigError


@pytest.fixture(scope="module")
def summary(tables):
    return tables.summary


@pytest.fixture
def run(summary, tmp_path, monkeypatch):
    """Gives the configuration files of a run whose results are in a folder of their own."""

    def write(warnings=()):
        results = tmp_path / "elsewhere" / "mine"
        results.mkdir(parents=True)
        summary.to_csv(results / "summary.csv", index=False)
        (results / "provenance.json").write_text(json.dumps({"warnings": list(warnings)}))
        base = {"results": "results", "options": {"S0": {"serve": []}}}
        overlay = {"results": "elsewhere/mine", "measure": {"rounds": 1}}
        for name, values in (("base.yaml", base), ("overlay.yaml", overlay)):
            (tmp_path / name).write_text(yaml.safe_dump(values))
        return [tmp_path / "base.yaml", tmp_path / "overlay.yaml"]

    monkeypatch.chdir(tmp_path)
    return write


def test_numbers_are_read_as_they_were_written(tmp_path):
    written = pd.DataFrame({"mean_ms": np.random.default_rng(1).exponential(10, 1000)})
    written.to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), written, check_exact=True)


@pytest.mark.parametrize("name", ["NA", "nan", "None", "null", "True", "inf"])
def test_names_are_read_as_they_were_written(tmp_path, name):
    path = tmp_path / "table.csv"
    pd.DataFrame({"option": [name], "method": [name], "cost_ms": [np.nan]}).to_csv(
        path, index=False
    )
    table = read_table(path)
    assert table.option.tolist() == table.method.tolist() == [name]
    assert table.cost_ms.isna().all() and table.cost_ms.dtype == float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "not a readable table: no newline at its end"),
        (lambda text: "\n", "not a readable table: No columns"),
        (lambda text: text[:-20], "no newline at its end, was it cut off?"),
        (lambda text: text.replace("stable", "bogus"), "verdict 'bogus'; expected one of stable, "),
        (lambda text: text.replace("stable", ""), "S0 with 1 client: verdict nan; expected one of"),
        (
            lambda text: re.sub(r"(?m)^(S0,1,\d+,\d+,\d+,\d+,)[\d.]+", r"\1abc", text),
            "column 'mean_ms': ",
        ),
    ],
    ids=["empty", "a blank line", "cut", "another verdict", "no verdict", "text"],
)
def test_a_summary_that_is_none_is_refused_with_its_file(summary, tmp_path, change, message):
    path = tmp_path / "summary.csv"
    summary.to_csv(path, index=False)
    path.write_text(change(path.read_text()))
    with pytest.raises(TableError) as caught:
        read_summary(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_one_line_per_row(summary):
    lines = terminal_table(summary).splitlines()
    assert len(lines) == 1 + len(summary)
    row = summary.iloc[0]
    assert f" {row.cost_ms:+.2f} [{row.cost_low_ms:+.2f}, {row.cost_high_ms:+.2f}] " in lines[1]
    assert f" {row.client_cpu_ms:.1f} + 0.0 " in lines[1]
    assert lines[1].endswith("stable")


def test_other_tracks_than_those_of_the_pipeline_are_told(summary):
    assert "same tracks" not in terminal_table(summary)
    heading, first, *others = terminal_table(
        summary.assign(same_tracks=[0.125, *[1.0] * (len(summary) - 1)])
    ).splitlines()
    assert " same tracks " in heading and " 12.5% " in first
    assert all(" 100.0% " in line for line in others)


def test_what_is_not_known_is_a_dash(summary):
    empty = summary.assign(mean_ms=float("nan"), cost_low_ms=float("nan"))
    empty = empty.assign(server_cpu_ms=float("nan"))
    row = display_rows(empty)[0]
    assert row["mean"] == "- [{ci95_low_ms:.2f}, {ci95_high_ms:.2f}]".format(**summary.iloc[0])
    assert row["cost"] == f"{summary.cost_ms[0]:+.2f}"
    assert row["cpu"] == f"{summary.client_cpu_ms[0]:.1f}"


def test_the_results_are_those_of_the_configuration(run, summary, tmp_path, capsys):
    assert set(summary.verdict) == {"stable"}
    assert main(run()) == 0
    report = (tmp_path / "elsewhere/mine/report.html").resolve()
    assert capsys.readouterr().out == f"{terminal_table(summary)}\n\nreport: {report}\n"


@pytest.mark.parametrize(
    ("warnings", "shown"),
    [
        (["a"], "1 warning:\n  a\n\nreport: "),
        (["a", "b", "c"], "3 warnings:\n  a\n  b\n  c\n\nreport: "),
        (["a", "b", "c", "d", "e"], "5 warnings:\n  a\n  b\n  c\n  and 2 more: see the report\n\n"),
    ],
)
def test_warnings_stand_below_the_table(run, capsys, warnings, shown):
    main(run(warnings))
    assert f"\n\n{shown}" in capsys.readouterr().out


def test_a_wrong_configuration_is_named(run):
    files = run()
    files[1].write_text("measure: {rounds: two}")
    with pytest.raises(ConfigError, match=r"overlay\.yaml: measure\.rounds: found 'two'"):
        main(files)


def test_an_invalid_cell_is_named_and_ends_with_1(run, summary, tmp_path, capsys):
    files = run()
    wrong = summary.copy()
    wrong.loc[1, ["verdict", "reason"]] = ["invalid", "3 of 60 requests failed"]
    wrong.loc[4:8, ["verdict", "reason"]] = ["unstable", "a drift"]
    wrong.to_csv(tmp_path / "elsewhere/mine/summary.csv", index=False)
    assert main(files) == 1
    text = capsys.readouterr().out
    assert "\n\n1 invalid cell:\n  S0 with 2 clients: 3 of 60 requests failed\n\n" in text
    assert "\n\n5 unstable cells:\n  S1 with 2 clients: a drift\n" in text
    assert "  and 2 more: see the report\n\nreport: " in text
