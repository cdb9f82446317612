import numpy as np
import pandas as pd
import pytest
from synthetic import make_blocks, make_reference, make_timings

from exatrkx_service.analysis.cells import comparable, tracks_identical
from exatrkx_service.analysis.summary import summarise
from exatrkx_service.analysis.timings import (
    BLOCK,
    TimingsError,
    check_blocks,
    check_reference,
    check_timings,
    check_together,
    kept_blocks,
    read_blocks,
    read_reference,
    read_timings,
)


def test_parquet_files_come_back_as_written(tmp_path, synthetic):
    timings, blocks, reference = synthetic
    files = {"samples": [], "blocks": []}
    for name, table in (("samples", timings), ("blocks", blocks)):
        for (option, number), rows in table.groupby(["option", "round"]):
            files[name].append(tmp_path / f"{option}-{number}.{name}.parquet")
            rows.to_parquet(files[name][-1])
    reference.to_parquet(tmp_path / "reference.parquet")
    pd.testing.assert_frame_equal(read_timings(files["samples"]), timings)
    pd.testing.assert_frame_equal(read_blocks(files["blocks"]), blocks)
    pd.testing.assert_frame_equal(read_reference(tmp_path / "reference.parquet"), reference)


def test_the_same_file_twice_is_refused(tmp_path, synthetic):
    path = tmp_path / "round1.parquet"
    synthetic[0].to_parquet(path)
    with pytest.raises(TimingsError, match=r"option S0, round 1, .* occurs twice"):
        read_timings([path, path])
    synthetic[1].to_parquet(path)
    with pytest.raises(TimingsError, match=r"option S0, round 1, .* occurs twice"):
        read_blocks([path, path])


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    path = tmp_path / "round1.parquet"
    path.write_text("not parquet")
    with pytest.raises(TimingsError, match=r"round1\.parquet: not a readable Parquet file"):
        read_timings([path])
    with pytest.raises(TimingsError, match=r"none\.parquet"):
        read_reference(tmp_path / "none.parquet")


def test_no_file_is_refused():
    with pytest.raises(TimingsError, match="no file"):
        read_timings([])
    with pytest.raises(TimingsError, match="no file"):
        read_blocks([])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("arm", "third", "column 'arm': unknown value 'third', expected one of control, option"),
        ("status", "fine", "column 'status': unknown value 'fine', expected one of failed, ok"),
        ("stage", "seeding", "column 'stage': unknown value 'seeding'"),
        ("part", "magic", "column 'part': unknown value 'magic'"),
        ("duration_ns", -5, "column 'duration_ns': -5 is negative .*option S0, round 1"),
        ("labels_sha256", None, "column 'labels_sha256': 1 rows have no value"),
        ("duration_ns", 0.5, "column 'duration_ns': expected integers, found"),
    ],
)
def test_bad_values_are_named(synthetic, column, value, message):
    timings = synthetic[0].copy()
    if isinstance(value, float):
        timings[column] = timings[column].astype(float)
    timings.loc[3, column] = value
    with pytest.raises(TimingsError, match=rf"f\.parquet: {message}"):
        check_timings(timings, "f.parquet")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("arm", "third", "column 'arm': unknown value 'third'"),
        ("window_s", -0.5, r"column 'window_s': -0\.5 is negative \(option S0, round 1"),
        ("client_cpu_ms", np.nan, "column 'client_cpu_ms': 1 rows have no value"),
        ("disturbed", None, "column 'disturbed': 1 rows have no value"),
        ("n_done", 0.5, "column 'n_done': expected integers, found float64"),
        ("others", "none", "column 'others': expected numbers, found object"),
    ],
)
def test_bad_blocks_are_named(synthetic, column, value, message):
    blocks = synthetic[1].copy()
    if isinstance(value, float):
        blocks[column] = blocks[column].astype(float)
    elif column == "others":
        blocks[column] = blocks[column].astype(object)
    blocks.loc[3, column] = value
    with pytest.raises(TimingsError, match=rf"b\.parquet: {message}"):
        check_blocks(blocks, "b.parquet")


def test_what_the_kernel_or_the_server_does_not_tell_may_be_missing(synthetic):
    unknown = dict.fromkeys(["server_cpu_ms", "switches_per_s", "mhz"], np.nan)
    check_blocks(synthetic[1].assign(**unknown), "b")


def test_missing_column_and_empty_frame(synthetic):
    timings, blocks, reference = synthetic
    with pytest.raises(TimingsError, match=r"f\.parquet: column 'client' is missing"):
        check_timings(timings.drop(columns="client"), "f.parquet")
    with pytest.raises(TimingsError, match=r"f\.parquet: no rows"):
        check_timings(timings.iloc[:0], "f.parquet")
    with pytest.raises(TimingsError, match=r"b\.parquet: column 'steal' is missing"):
        check_blocks(blocks.drop(columns="steal"), "b.parquet")
    with pytest.raises(TimingsError, match=r"r\.parquet: column 'labels_sha256' is missing"):
        check_reference(reference.drop(columns="labels_sha256"), "r.parquet")


def test_wrong_totals_are_refused(synthetic):
    timings = synthetic[0]
    first = timings.index[timings.part == "total"][0]
    with pytest.raises(TimingsError, match=r"event \d+: parts without a row event/total"):
        check_timings(timings.drop(first), "f")
    zero = timings.copy()
    zero.loc[first, "duration_ns"] = 0
    with pytest.raises(TimingsError, match="'duration_ns': the total is 0"):
        check_timings(zero, "f")
    for part in ("total", "unattributed"):
        misplaced = timings.copy()
        misplaced.loc[0, "part"] = part
        with pytest.raises(TimingsError, match=f"row embedding/{part}"):
            check_timings(misplaced, "f")
    misplaced = timings.copy()
    misplaced.loc[0, "stage"] = "event"
    with pytest.raises(TimingsError, match="row event/compute"):
        check_timings(misplaced, "f")


def test_samples_of_no_block_are_refused(synthetic):
    timings, blocks, _ = synthetic
    check_together(timings, blocks)
    name = r"option S0, round 1, concurrency 1, block 0, arm (option|control), which has samples"
    with pytest.raises(TimingsError, match=f"blocks: no row of {name}"):
        check_together(timings, blocks.drop(index=[0, 1]))


def test_reference_lists_an_event_once_and_with_its_hash(synthetic):
    reference = synthetic[2].sort_values("event", ignore_index=True)
    with pytest.raises(TimingsError, match="'event': event 4 occurs twice"):
        check_reference(pd.concat([reference, reference.iloc[[4]]]), "r")
    empty = reference.assign(labels_sha256="")
    with pytest.raises(TimingsError, match="'labels_sha256': event 0 has none"):
        check_reference(empty, "r")


def disturbed(blocks, option, concurrency, numbers, arm=None):
    """The blocks, some of one cell in round 1 disturbed, in one arm or in both."""
    chosen = (blocks.option == option) & (blocks.concurrency == concurrency)
    chosen &= (blocks["round"] == 1) & blocks.block.isin(numbers)
    if arm:
        chosen &= blocks.arm == arm
    return blocks.assign(disturbed=blocks.disturbed.where(~chosen, "others used 0.97 CPUs"))


@pytest.mark.parametrize("arm", [None, "option", "control"])
def test_disturbed_blocks_do_not_count_with_both_their_arms(synthetic, arm):
    blocks = disturbed(synthetic[1], "S3", 2, [0, 4, 7], arm)
    left_out = blocks.drop(kept_blocks(blocks, 7).index)
    assert set(left_out.block) == {0, 4, 7} and len(left_out) == 6
    assert set(zip(left_out.option, left_out["round"], left_out.concurrency, strict=True)) == {
        ("S3", 1, 2)
    }


def test_where_too_few_blocks_are_undisturbed_all_count(synthetic):
    blocks = disturbed(synthetic[1], "S3", 2, [0, 4, 7])
    assert len(kept_blocks(blocks, 8)) == len(blocks)


@pytest.mark.parametrize("wrong", ["", "0" * 64])
def test_one_wrong_or_missing_hash_excludes_the_cell_and_no_other(wrong):
    timings = make_timings({"S0": [], "S2": ["building"]}, 5, rounds=1, concurrencies=(1, 2))
    blocks, reference = make_blocks(timings), make_reference(timings)
    chosen = (
        (timings.option == "S2")
        & (timings.concurrency == 2)
        & (timings.part == "total")
        & (timings.event == 3)
        & (timings.repetition == 1)
        & (timings.arm == "option")
    )
    timings.loc[chosen, "labels_sha256"] = wrong
    identical = tracks_identical(timings, reference)
    assert identical.to_dict() == {
        ("S0", 1): True,
        ("S0", 2): True,
        ("S2", 1): True,
        ("S2", 2): False,
    }
    summary = summarise(
        timings, blocks, reference, confidence_level=0.95, precision=1, min_blocks=1
    )
    left = comparable(timings, blocks, summary, 1)
    pairs = set(zip(left.option, left.concurrency, strict=True))
    assert pairs == {("S0", 1), ("S0", 2), ("S2", 1)}


def test_what_is_shown_is_of_the_options_in_the_blocks_that_count(synthetic, tables):
    timings, blocks, _ = synthetic
    blocks = disturbed(blocks, "S3", 2, [4])
    shown = comparable(timings, blocks, tables.summary, 7)
    left_out = timings[timings.arm == "option"].drop(shown.index)
    assert set(shown.arm) == {"option"}
    assert left_out[BLOCK].drop_duplicates().to_numpy().tolist() == [["S3", 1, 2, 4]]


def test_an_event_without_reference_is_an_error(synthetic):
    timings, _, reference = synthetic
    with pytest.raises(TimingsError, match="no row for event 0"):
        tracks_identical(timings, reference[reference.event != 0])


def test_a_cell_that_failed_throughout_is_not_identical():
    timings = make_timings({"S0": []}, 3, rounds=1, concurrencies=(1,))
    reference = make_reference(timings)
    failed = timings[timings.part == "total"].assign(status="failed", labels_sha256="")
    assert not tracks_identical(failed, reference)["S0", 1]
