import numpy as np
import pandas as pd
import pytest
from drawn import draw_tables
from matplotlib.colors import to_hex
from matplotlib.image import imread
from synthetic import PLACEMENTS, make_timings
from tables import make_tables

from exatrkx_service.analysis import figures
from exatrkx_service.analysis.figures.style import (
    is_compute,
    is_overhead,
    name_cells,
    option_styles,
    served_label,
)
from exatrkx_service.analysis.timings import kept_blocks


@pytest.fixture
def studied(tables):
    """Tables of a study: the ensemble, another one that costs 3 ms more, and one that failed."""
    known = tables.summary[tables.summary.concurrency == 1].set_index("option")
    ensemble = known.loc["S4"].to_dict() | {"cost_ms": 5.0, "cost_low_ms": 4.7, "cost_high_ms": 5.3}
    other = ensemble | {"cost_ms": 8.0, "cost_low_ms": 7.6, "cost_high_ms": 8.4}
    near = ensemble | {"cost_ms": 4.6, "cost_low_ms": 4.2, "cost_high_ms": 5.0}
    failed = ensemble | dict.fromkeys(("cost_ms", "cost_low_ms", "cost_high_ms"), np.nan)
    rows = {"ensemble": ensemble, "other": other, "near": near, "failed": failed}
    summary = pd.DataFrame(rows).T.rename_axis("option").reset_index().infer_objects()
    parts = tables.parts[(tables.parts.option == "S4") & (tables.parts.concurrency == 1)]
    return summary, parts.assign(option="ensemble")


def test_the_study_says_what_differs_from_the_ensemble(studied):
    summary, parts = studied
    (axes,) = figures.study_ensemble(summary, parts).axes
    texts = {round(t.xy[1]): t for t in axes.texts}
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["near", "ensemble", "other"]
    # sqrt(0.3^2 + 0.4^2) = 0.5: half-widths of jobs of their own, in quadrature.
    found = {name: (texts[i].get_text(), texts[i].get_fontweight()) for i, name in enumerate(names)}
    assert found == {
        "near": ("+4.60 (-0.40 ± 0.50)", "normal"),
        "ensemble": ("+5.00", "normal"),
        "other": ("+8.00 (+3.00 ± 0.50)", "bold"),
    }
    bars = [bar for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == 1]
    overhead_ms = parts.mean_ms[is_overhead(parts)].sum()
    assert max(bar.get_x() + bar.get_width() for bar in bars) >= overhead_ms > 0
    assert axes.get_xlabel() == "overhead parts (bars), cost (points), per event [ms]"
    without = summary[summary.option != "ensemble"]
    assert "ensemble has no valid samples" in text_of(figures.study_ensemble(without, parts))


def text_of(figure):
    return " ".join(t.get_text() for axes in figure.axes for t in axes.texts)


def test_bars_of_the_comparison_stack_to_the_samples_means(tables):
    axes = figures.comparison(tables.summary, tables.parts).axes[0]
    tops = {}
    for bar in axes.patches:
        place = round(bar.get_x() + bar.get_width() / 2)
        tops[place] = max(tops.get(place, 0), bar.get_y() + bar.get_height())
    parts = tables.parts[tables.parts.concurrency == 1]
    assert [tops[i] for i in range(6)] == pytest.approx(parts.groupby("option").mean_ms.sum())
    text = text_of(axes.figure)
    rows = tables.summary[tables.summary.concurrency == 1]
    for row in rows.itertuples():
        what = "A/A" if row.option == "S0" else "cost"
        cost = f"[{row.cost_low_ms:+.2f}, {row.cost_high_ms:+.2f}]"
        assert f"{what} {row.cost_ms:+.2f} ms\n{cost} {row.mean_ms:.1f} ms" in text
    (controls,) = (c for c in axes.collections if c.get_linestyle()[0][1])
    drawn = [segment[0][1] for segment in controls.get_segments()]
    assert drawn == pytest.approx(rows.control_ms)


def test_overhead_is_all_that_has_a_name_and_is_no_stages_own_work(tables):
    parts = tables.parts
    fused = parts[(parts.option == "S5") & (parts.concurrency == 1)]
    rest = fused[is_overhead(fused)]
    assert set(rest.stage) == {"pipeline"}
    assert {"hand_over", "convert"} <= set(rest.part)
    local = parts[parts.option == "S0"]
    assert not is_overhead(local).any()
    assert set(local.part[~is_compute(local)]) == {"unattributed"}


def test_overhead_panels_carry_the_sums(tables):
    parts = tables.parts
    _, *panels = figures.overhead(parts, tables.cost).axes
    assert [axes.get_title("left").split(",")[0] for axes in panels] == PLACED
    for axes, option in zip(panels, PLACED, strict=True):
        rows = parts[(parts.option == option) & (parts.concurrency == 1)]
        drawn = sum(bar.get_width() for bar in axes.patches)
        assert drawn == pytest.approx(rows.mean_ms[~is_compute(rows)].sum())
        assert axes.get_yticklabels()[-1].get_text() == "in no part"


def test_costs_stand_against_zero_with_the_a_a_row(tables):
    axes = figures.overhead(tables.parts, tables.cost).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["S0 (A/A)", *PLACED]
    costs = tables.cost[tables.cost.concurrency == 1]
    drawn = [bars.lines[0].get_xdata()[0] for bars in axes.containers]
    assert drawn == pytest.approx(costs.cost_ms)
    low, high = axes.get_xlim()
    assert low < costs.ci95_low_ms.min() < 0 < costs.ci95_high_ms.max() < high
    assert any(set(line.get_xdata()) == {0} for line in axes.lines)


def test_intervals_of_the_parts_do_not_lie_on_one_line(tables):
    for axes in figures.overhead(tables.parts, tables.cost).axes[1:]:
        segments = [
            tuple(segment[0])[1]
            for bars in axes.containers
            if hasattr(bars, "has_xerr")
            for segment in bars.lines[2][0].get_segments()
        ]
        assert len(segments) > 1
        assert np.diff(sorted(segments)).min() > 0.04


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
    assert served_label(tables.parts[tables.parts.option == option]) == label


def drawn_lines(axes):
    return {line.get_label(): line.lines[0].get_ydata() for line in axes.containers}


def test_points_are_the_means_and_the_costs(tables):
    left, right = figures.latency_vs_concurrency(tables.summary).axes
    for option, rows in tables.summary.groupby("option"):
        assert drawn_lines(left)[option] == pytest.approx(rows.mean_ms.to_numpy())
        assert drawn_lines(right)[option] == pytest.approx(rows.cost_ms.to_numpy())


def test_points_are_the_throughputs_with_an_interval_about_them(tables):
    blocks = kept_blocks(tables.blocks, 1)
    axes = figures.throughput_vs_concurrency(tables.summary, blocks).axes[0]
    for option, rows in tables.summary.groupby("option"):
        rate = rows.throughput_evt_s.to_numpy()
        assert drawn_lines(axes)[option] == pytest.approx(rate)
        (line,) = (c for c in axes.containers if c.get_label() == option)
        bars = np.array([segment[:, 1] for segment in line.lines[2][0].get_segments()])
        assert bars.mean(axis=1) == pytest.approx(rate)
        assert (bars[:, 1] > bars[:, 0]).all()


def test_unstable_points_are_hollow_and_named(tables):
    unstable = tables.summary.copy()
    chosen = (unstable.option == "S3") & (unstable.concurrency > 1)
    unstable.loc[chosen, "verdict"] = "unstable"
    unstable.loc[0, "verdict"] = "invalid"
    for axes in figures.latency_vs_concurrency(unstable).axes:
        hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
        assert sum(len(line.get_xdata()) for line in hollow) == 2
    figure = figures.latency_vs_concurrency(unstable)
    name_cells(figure, unstable)
    text = " ".join(figure.axes[-1].get_xlabel().split())
    assert "invalid, not shown (option with clients): S0 with 1 " in text
    assert text.endswith("unstable, see the report (option with clients): S3 with 2, 4")
    studied = figures.latency_vs_concurrency(unstable)
    name_cells(studied, unstable, "results/study_ensemble/summary.csv")
    text = " ".join(studied.axes[-1].get_xlabel().split())
    assert "unstable, see results/study_ensemble/summary.csv (option with clients): S3" in text


def test_figures_of_one_client_name_its_unstable_cells_alone(tables):
    summary = tables.summary.assign(verdict="unstable")
    assert set(figures.fewest_clients(summary).concurrency) == {1}
    summary.loc[summary.concurrency == 1, "verdict"] = "invalid"
    shown = figures.fewest_clients(summary)
    assert set(shown.concurrency[shown.verdict == "unstable"]) == {2}
    assert set(shown.concurrency[shown.verdict == "invalid"]) == {1}
    assert len(figures.fewest_clients(summary.assign(verdict="invalid"))) == 6
    assert set(figures.FEWEST_CLIENTS) <= set(figures.__all__)


def test_resources_are_stacked_to_their_sums(tables):
    figure = figures.resources(tables.summary)
    for axes, quantity in zip(figure.axes, ("cpu_ms", "pss_mib"), strict=True):
        clients, server = axes.containers
        tops = [bar.get_y() + bar.get_height() for bar in server]
        sums = tables.summary[[f"client_{quantity}", f"server_{quantity}"]].sum(axis=1)
        assert tops == pytest.approx(sums)
        assert [bar.get_height() for bar in clients] == pytest.approx(
            tables.summary[f"client_{quantity}"]
        )


def test_quantiles_of_too_few_samples_are_not_drawn():
    def shown(rounds):
        return make_tables(make_timings({"S0": []}, 8, rounds, (1,))).shown

    few, some = (figures.latency_distribution(shown(rounds)) for rounds in (1, 2))
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


@pytest.mark.parametrize(
    ("sizes", "from_zero"), [((100, 450), True), ((1000, 1400), False), ((700, 700), False)]
)
def test_sizes_begin_at_zero_only_where_events_differ_much(tables, sizes, from_zero):
    number = tables.shown.event.rank(method="dense") - 1
    points = sizes[0] + (sizes[1] - sizes[0]) * number / number.max()
    axes = figures.time_vs_space_points(tables.shown.assign(n_space_points=points)).axes[0]
    low, high = axes.get_xlim()
    assert high > sizes[1]
    assert low == 0 if from_zero else sizes[0] / 2 < low < sizes[0]


def test_timeline_starts_at_the_request_and_fits_into_it(tables):
    timings = tables.shown
    axes = figures.ensemble_timeline(timings).axes[0]
    request, *bars = axes.patches
    assert request.get_x() == 0
    end = request.get_width()
    assert all(bar.get_x() >= -1e-9 and bar.get_x() + bar.get_width() <= end + 1e-6 for bar in bars)
    sizes = timings[timings.option == "S4"].groupby("event").n_space_points.first()
    typical = (sizes - np.median(sizes)).abs().idxmin()
    assert f"event {typical}, {sizes[typical]:,} space points" in axes.get_title("left")


def test_without_an_ensemble_the_timeline_says_so(tables):
    timings = tables.shown
    figure = figures.ensemble_timeline(timings[timings.option != "S4"])
    assert "No option that serves the ensemble" in text_of(figure)


def test_only_s0_has_no_overhead_to_show(tables):
    parts = tables.parts
    figure = figures.overhead(parts[parts.option == "S0"], tables.cost)
    assert "No option that serves a stage" in text_of(figure)


@pytest.mark.parametrize("chosen", [["S0"], ["S2", "S4"], ["S5"]])
def test_any_subset_of_options_can_be_drawn(chosen, tmp_path):
    timings = make_timings({o: PLACEMENTS[o] for o in chosen}, 8, concurrencies=(2, 4))
    for name, figure in draw_tables(make_tables(timings)).items():
        figure.savefig(tmp_path / name, dpi=30)


def test_one_event_and_a_new_option_can_be_drawn(tmp_path):
    timings = make_timings({"S0": [], "S6": ["gnn"]}, 1, rounds=1, concurrencies=(1,))
    for name, figure in draw_tables(make_tables(timings)).items():
        figure.savefig(tmp_path / name, dpi=30)
        assert "nan" not in text_of(figure)


def test_without_valid_samples_every_figure_says_so(synthetic):
    timings, blocks, reference = synthetic
    nothing = make_tables(timings.assign(labels_sha256="0" * 64), blocks, reference)
    for figure in draw_tables(nothing).values():
        assert "valid samples" in text_of(figure)


def test_saved_as_png_of_200_dpi_and_pdf_that_repeat_exactly(tmp_path, tables):
    first, second = tmp_path / "a" / "x", tmp_path / "b" / "x"
    figures.save_figure(figures.latency_distribution(tables.shown), first)
    figures.save_figure(figures.latency_distribution(tables.shown), second)
    assert imread(first.with_suffix(".png")).shape[:2] == (1220, 1640)
    assert first.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    for suffix in (".png", ".pdf"):
        assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()
