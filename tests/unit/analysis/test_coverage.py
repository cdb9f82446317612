import pytest
from hand_made import make_coverage
from synthetic import make_blocks, make_reference, make_timings

from exatrkx_service.analysis import figures
from exatrkx_service.analysis.coverage import COVERAGE_COLUMNS, coverage_lines, coverage_table
from exatrkx_service.analysis.summary import summarise
from exatrkx_service.analysis.timings import TimingsError

LEVEL = {"confidence_level": 0.95, "min_blocks": 4}


@pytest.fixture(scope="module")
def repeats():
    """Samples of three repeats of S0 against itself, with one and two clients."""
    timings = make_timings({"S0": []}, 8, rounds=3, concurrencies=(1, 2))
    return timings, make_blocks(timings), make_reference(timings)


def test_each_repeat_has_the_interval_that_the_summary_would_give_it(repeats):
    timings, blocks, reference = repeats
    table = coverage_table(timings, blocks, reference, **LEVEL)
    assert list(table.columns) == COVERAGE_COLUMNS
    assert list(zip(table.repeat, table.concurrency, strict=True)) == [
        (number, concurrency) for number in (1, 2, 3) for concurrency in (1, 2)
    ]
    second = [frame[frame["round"] == 2] for frame in (timings, blocks)]
    summary = summarise(*second, reference, {}, precision=1.0, **LEVEL)
    columns = ["cost_ms", "cost_low_ms", "cost_high_ms", "control_ms", "n_blocks"]
    own = table[table.repeat == 2]
    for column in columns:
        assert own[column].tolist() == pytest.approx(summary[column].tolist()), column
    assert (own.n_disturbed == 0).all() and own.others.tolist() == pytest.approx([0.02, 0.02])
    half = (table.cost_high_ms - table.cost_low_ms) / 2
    assert table.half_width_share.tolist() == pytest.approx((half / table.control_ms).tolist())


def test_an_interval_off_zero_does_not_hold_it(repeats):
    timings, blocks, reference = repeats
    slower = (timings["round"] == 3) & (timings.arm == "option")
    shifted = timings.assign(
        duration_ns=timings.duration_ns.where(~slower, 2 * timings.duration_ns)
    )
    table = coverage_table(shifted, blocks, reference, **LEVEL)
    assert not table.holds_zero[table.repeat == 3].any()
    assert table.holds_zero.equals((table.cost_low_ms <= 0) & (table.cost_high_ms >= 0))


def test_disturbed_blocks_are_counted_and_left_out(repeats):
    timings, blocks, reference = repeats
    one = (blocks["round"] == 1) & (blocks.concurrency == 2) & (blocks.block == 0)
    disturbed = blocks.assign(disturbed=one.map({True: "others", False: ""}))
    before = coverage_table(timings, blocks, reference, **LEVEL)
    table = coverage_table(timings, disturbed, reference, **LEVEL)
    assert table.n_disturbed.tolist() == [0, 1, 0, 0, 0, 0]
    assert (before.n_blocks - table.n_blocks).tolist() == [0, 1, 0, 0, 0, 0]
    assert table.cost_ms[1] != before.cost_ms[1]


def test_other_tracks_are_no_measurement(repeats):
    timings, blocks, reference = repeats
    with pytest.raises(TimingsError, match="S0 with 1 client: other tracks"):
        coverage_table(timings, blocks, reference.assign(labels_sha256="0" * 64), **LEVEL)


def test_the_line_says_how_often_and_how_well_that_is_known():
    (line,) = coverage_lines(make_coverage([0.0] * 19 + [0.9]), 0.95)
    # The exact (Clopper-Pearson) interval of 19 in 20 is 0.7513 to 0.9987.
    assert line == (
        "1 client: the interval held zero in 19 of 20 repeats (95%; exact binomial 95 % interval "
        "75% to 100%; expected: 95%); half-width in the median 2.0% of the control"
    )


def test_the_figure_tells_the_intervals_that_miss_zero():
    figure = figures.coverage(make_coverage([0.1, 0.9, -0.2, -0.8]))
    (axes,) = figure.axes
    drawn = {bars.get_label(): bars.lines[0].get_xdata().tolist() for bars in axes.containers}
    assert drawn == {"holds zero": [1, 3], "misses zero": [2, 4]}
    assert "zero in 2 of 4 intervals (50%; 95% expected)" in axes.get_title("left")
