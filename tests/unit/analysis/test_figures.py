import numpy as np
import pytest
from drawn import BOOTSTRAP, draw_timings
from matplotlib.colors import to_hex
from matplotlib.image import imread
from synthetic import PLACEMENTS, make_timings

from exatrkx_service.analysis import figures
from exatrkx_service.analysis.figures.style import is_compute, option_styles, served_label
from exatrkx_service.analysis.summary import breakdown, cost_vs_s0, summarise


def text_of(figure):
    return " ".join(t.get_text() for axes in figure.axes for t in axes.texts)


@pytest.fixture(scope="module")
def tables(synthetic):
    timings, reference = synthetic
    return (
        summarise(timings, reference, **BOOTSTRAP),
        breakdown(timings, reference, **BOOTSTRAP),
        cost_vs_s0(timings, reference, **BOOTSTRAP),
    )


def test_bars_of_the_comparison_stack_to_the_means(tables):
    summary, parts, cost = tables
    axes = figures.comparison(summary, parts, cost).axes[0]
    tops = {}
    for bar in axes.patches:
        place = round(bar.get_x() + bar.get_width() / 2)
        tops[place] = max(tops.get(place, 0), bar.get_y() + bar.get_height())
    means = summary[summary.concurrency == 1].mean_ms.to_numpy()
    assert [tops[i] for i in range(6)] == pytest.approx(means)
    text = text_of(axes.figure)
    for mean in means:
        assert f"{mean:.1f} ms" in text


def test_overhead_is_all_that_is_not_a_stages_own_work(tables):
    parts = tables[1]
    fused = parts[(parts.option == "S5") & (parts.concurrency == 1)]
    rest = fused[~is_compute(fused)]
    assert set(rest.stage) == {"pipeline"}
    assert "backend" in set(rest.part)
    local = parts[parts.option == "S0"]
    assert is_compute(local).all()


def test_overhead_panels_carry_the_sums(tables):
    parts = tables[1]
    figure = figures.overhead(parts)
    assert [axes.get_title("left").split(":")[0] for axes in figure.axes] == PLACED
    for axes, option in zip(figure.axes, PLACED, strict=True):
        rows = parts[(parts.option == option) & (parts.concurrency == 1)]
        drawn = sum(bar.get_width() for bar in axes.patches)
        assert drawn == pytest.approx(rows.mean_ms[~is_compute(rows)].sum())


def test_intervals_of_the_parts_do_not_lie_on_one_line(tables):
    for axes in figures.overhead(tables[1]).axes:
        segments = [
            tuple(segment[0])[1]
            for bars in axes.containers
            if hasattr(bars, "has_xerr")
            for segment in bars.lines[2][0].get_segments()
        ]
        assert len(segments) > 1
        assert np.diff(sorted(segments)).min() > 0.05


PLACED = ["S1", "S2", "S3", "S4", "S5"]


@pytest.mark.parametrize(
    ("option", "label"),
    [
        ("S0", "no service"),
        ("S1", "embedding\nfiltering\nGNN"),
        ("S3", "all stages,\none request each"),
        ("S4", "ensemble,\none request"),
        ("S5", "fused,\none request"),
    ],
)
def test_an_option_is_described_by_what_it_serves(tables, option, label):
    assert served_label(tables[1][tables[1].option == option]) == label


def test_latency_points_are_the_means(tables):
    summary = tables[0]
    lines = figures.latency_vs_concurrency(summary).axes[0].containers
    drawn = {line.get_label(): line.lines[0].get_ydata() for line in lines}
    for option, rows in summary.groupby("option"):
        assert drawn[option] == pytest.approx(rows.mean_ms.to_numpy())


def test_quantiles_of_too_few_samples_are_not_drawn():
    few = figures.latency_distribution(make_timings({"S0": []}, 8, rounds=1, concurrencies=(1,)))
    some = figures.latency_distribution(make_timings({"S0": []}, 8, concurrencies=(1,)))
    assert "p50 [ms]" in text_of(few) and "p95" not in text_of(few)
    assert "p50 / p95 [ms]" in text_of(some)
    for figure, names in ((few, ["p50"]), (some, ["p50", "p95"])):
        assert [text.get_text() for text in figure.legends[0].get_texts()] == names
        drawn = [line for line in figure.axes[0].lines if len(line.get_xdata())]
        assert len(drawn) == len(names)


def test_options_keep_their_colours_and_new_ones_get_their_own():
    few = option_styles(["S0", "S4"])
    many = option_styles([f"S{i}" for i in range(12)])
    assert few["S4"]["color"] == many["S4"]["color"]
    colours = [to_hex(style["color"]) for style in many.values()]
    assert len(set(colours[:11])) == 11
    pairs = {(s["color"], s["marker"]) for s in many.values()}
    assert len(pairs) == 12


def test_timeline_starts_at_the_request_and_fits_into_it(synthetic):
    timings = synthetic[0]
    axes = figures.ensemble_timeline(timings).axes[0]
    request, *bars = axes.patches
    assert request.get_x() == 0
    end = request.get_width()
    assert all(bar.get_x() >= -1e-9 and bar.get_x() + bar.get_width() <= end + 1e-6 for bar in bars)
    sizes = timings[timings.option == "S4"].groupby("event").n_space_points.first()
    typical = (sizes - np.median(sizes)).abs().idxmin()
    assert f"event {typical}, {sizes[typical]:,} space points" in axes.get_title("left")


def test_without_an_ensemble_the_timeline_says_so(synthetic):
    timings = synthetic[0]
    figure = figures.ensemble_timeline(timings[timings.option != "S4"])
    assert "No option that serves the ensemble" in text_of(figure)


def test_only_s0_has_no_overhead_to_show(tables):
    parts = tables[1]
    figure = figures.overhead(parts[parts.option == "S0"])
    assert "No option that serves a stage" in text_of(figure)


@pytest.mark.parametrize("chosen", [["S0"], ["S2", "S4"], ["S5"]])
def test_any_subset_of_options_can_be_drawn(chosen, tmp_path):
    timings = make_timings({o: PLACEMENTS[o] for o in chosen}, 8, concurrencies=(2, 4))
    for name, figure in draw_timings(timings).items():
        figure.savefig(tmp_path / name, dpi=30)


def test_one_event_and_a_new_option_can_be_drawn(tmp_path):
    timings = make_timings({"S0": [], "S6": ["gnn"]}, 1, rounds=1, concurrencies=(1,))
    for name, figure in draw_timings(timings).items():
        figure.savefig(tmp_path / name, dpi=30)
        assert "nan" not in text_of(figure)


def test_without_valid_samples_every_figure_says_so(synthetic):
    timings, reference = synthetic
    wrong = timings.assign(labels_sha256="0" * 64)
    none = wrong.iloc[:0]
    summary = summarise(wrong, reference, **BOOTSTRAP)
    parts = breakdown(wrong, reference, **BOOTSTRAP)
    cost = cost_vs_s0(wrong, reference, **BOOTSTRAP)
    for figure in [
        figures.comparison(summary, parts, cost),
        figures.overhead(parts),
        figures.latency_vs_concurrency(summary),
        figures.throughput_vs_concurrency(none),
        figures.latency_distribution(none),
        figures.time_vs_space_points(none),
        figures.ensemble_timeline(none),
    ]:
        assert "valid samples" in text_of(figure)


def test_saved_as_png_of_200_dpi_and_pdf_that_repeat_exactly(tmp_path, tables):
    first, second = tmp_path / "a" / "x", tmp_path / "b" / "x"
    figures.save_figure(figures.latency_vs_concurrency(tables[0]), first)
    figures.save_figure(figures.latency_vs_concurrency(tables[0]), second)
    assert imread(first.with_suffix(".png")).shape[:2] == (960, 1500)
    assert first.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    for suffix in (".png", ".pdf"):
        assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()
