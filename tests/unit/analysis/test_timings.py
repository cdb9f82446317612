import pandas as pd
import pytest
from synthetic import make_reference, make_timings

from exatrkx_service.analysis.timings import (
    TimingsError,
    check_reference,
    check_timings,
    comparable,
    read_reference,
    read_timings,
    tracks_identical,
)


def test_parquet_files_come_back_as_written(tmp_path, synthetic):
    timings, reference = synthetic
    paths = []
    for (option, number), rows in timings.groupby(["option", "round"]):
        paths.append(tmp_path / f"{option}-{number}.parquet")
        rows.to_parquet(paths[-1])
    reference.to_parquet(tmp_path / "reference.parquet")
    pd.testing.assert_frame_equal(read_timings(paths), timings)
    pd.testing.assert_frame_equal(read_reference(tmp_path / "reference.parquet"), reference)


def test_the_same_file_twice_is_refused(tmp_path, synthetic):
    path = tmp_path / "round1.parquet"
    synthetic[0].to_parquet(path)
    with pytest.raises(TimingsError, match=r"option S0, round 1, .* occurs twice"):
        read_timings([path, path])


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


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
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


def test_missing_column_and_empty_frame(synthetic):
    timings, reference = synthetic
    with pytest.raises(TimingsError, match=r"f\.parquet: column 'client' is missing"):
        check_timings(timings.drop(columns="client"), "f.parquet")
    with pytest.raises(TimingsError, match=r"f\.parquet: no rows"):
        check_timings(timings.iloc[:0], "f.parquet")
    with pytest.raises(TimingsError, match=r"r\.parquet: column 'labels_sha256' is missing"):
        check_reference(reference.drop(columns="labels_sha256"), "r.parquet")


def test_wrong_totals_are_refused(synthetic):
    timings = synthetic[0]
    first = timings.index[timings.part == "total"][0]
    with pytest.raises(TimingsError, match="event 0: parts without a row event/total"):
        check_timings(timings.drop(first), "f")
    zero = timings.copy()
    zero.loc[first, "duration_ns"] = 0
    with pytest.raises(TimingsError, match="'duration_ns': the total is 0"):
        check_timings(zero, "f")
    misplaced = timings.copy()
    misplaced.loc[0, "part"] = "total"
    with pytest.raises(TimingsError, match="row embedding/total"):
        check_timings(misplaced, "f")


def test_reference_lists_an_event_once_and_with_its_hash(synthetic):
    reference = synthetic[1]
    with pytest.raises(TimingsError, match="'event': event 4 occurs twice"):
        check_reference(pd.concat([reference, reference.iloc[[4]]]), "r")
    empty = reference.assign(labels_sha256="")
    with pytest.raises(TimingsError, match="'labels_sha256': event 0 has none"):
        check_reference(empty, "r")


@pytest.mark.parametrize("wrong", ["", "0" * 64])
def test_one_wrong_or_missing_hash_excludes_the_pair_and_no_other(wrong):
    timings = make_timings({"S0": [], "S2": ["building"]}, 5, rounds=1, concurrencies=(1, 2))
    reference = make_reference(timings)
    chosen = (
        (timings.option == "S2")
        & (timings.concurrency == 2)
        & (timings.part == "total")
        & (timings.event == 3)
        & (timings.repetition == 1)
    )
    timings.loc[chosen, "labels_sha256"] = wrong
    identical = tracks_identical(timings, reference)
    assert identical.to_dict() == {
        ("S0", 1): True,
        ("S0", 2): True,
        ("S2", 1): True,
        ("S2", 2): False,
    }
    left = comparable(timings, reference)
    pairs = set(zip(left.option, left.concurrency, strict=True))
    assert pairs == {("S0", 1), ("S0", 2), ("S2", 1)}


def test_an_event_without_reference_is_an_error(synthetic):
    timings, reference = synthetic
    with pytest.raises(TimingsError, match="no row for event 0"):
        tracks_identical(timings, reference[reference.event != 0])


def test_a_pair_that_failed_throughout_is_not_identical():
    timings = make_timings({"S0": []}, 3, rounds=1, concurrencies=(1,))
    reference = make_reference(timings)
    failed = timings[timings.part == "total"].assign(status="failed", labels_sha256="")
    assert not tracks_identical(failed, reference)["S0", 1]
