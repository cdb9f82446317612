"""The figures of tracking performance show the table's numbers, and an event as it is."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hand_made import make_event, make_method

from exatrkx_service.analysis import figures
from exatrkx_service.analysis.figures.display import hnl_flight
from exatrkx_service.analysis.figures.style import method_styles
from exatrkx_service.analysis.physics import physics_table
from exatrkx_service.tracking import to_tracks

DRAWN = [figures.efficiency, figures.fake_and_duplicate_rates, figures.efficiency_vs_time]


def text_of(figure):
    return " ".join(t.get_text() for axes in figure.axes for t in axes.texts)


def drawn_points(axes):
    """Points of each method's error bars by its label."""
    lines = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    return {label: line.get_xydata().tolist() for label, line in lines.items()}


def test_efficiencies_are_the_tables(physics):
    figure = figures.efficiency(physics)
    radius, momentum, _ = figure.axes[:3]
    found, ckf = (np.array(points) for points in drawn_points(radius).values())
    # Bins from 0 to 1 and from 170 to 260 mm; two methods stand side by side in them.
    assert found == pytest.approx(np.array([[1 / 3, 1], [200, 1]]))
    assert ckf == pytest.approx(np.array([[2 / 3, 1], [230, 0]]))
    assert drawn_points(momentum)["ACTS CKF"] == [pytest.approx([2 + 2 / 3, 0.5])]
    assert "ACTS CKF\n0.5000 [0.0945, 0.9055]" in text_of(figure)
    titles = [axes.get_title("left") for axes in figure.axes[::3]]
    assert [title.split(":")[0] for title in titles] == [
        *("A, all", "A, HNL decay products", "B, all", "B, HNL decay products"),
    ]


def test_the_axis_shows_the_interval_even_of_few(physics):
    low, high = figures.efficiency(physics).axes[1].get_ylim()
    assert low < 0.0945 and high > 1


def test_rates_are_the_tables(physics):
    figure = figures.fake_and_duplicate_rates(physics)
    assert [axes.get_title("left") for axes in figure.axes[::3]] == [
        "fakes",
        "duplicates",
        "fragments",
    ]
    number = drawn_points(figure.axes[1])
    expected = [[3 + 1 / 3, 1], [5 + 1 / 3, 0], [6 + 2 / 3, 0]]
    assert np.array(number["Exa.TrkX"]) == pytest.approx(np.array(expected))
    assert "Exa.TrkX\n0.3333 [" in text_of(figure)


def test_each_method_is_a_point_of_time_and_efficiency(physics):
    figure = figures.efficiency_vs_time(physics)
    points = [bars.lines[0].get_xydata().tolist() for bars in figure.axes[0].containers]
    assert points == [[[4.0, 1.0]], [[4.0, 0.5]]]
    points = [bars.lines[0].get_xydata().tolist() for bars in figure.axes[2].containers]
    assert points == [[[4.0, 1.0]], [[4.0, 0.0]]]
    assert [axes.get_title("left").split(":")[0] for axes in figure.axes] == [
        *("A, all", "B, all", "A, HNL decay products", "B, HNL decay products"),
    ]


def test_without_an_hnl_its_panels_are_left_out(physics):
    figure = figures.efficiency_vs_time(physics[~physics.population.eq("A_hnl")])
    assert len(figure.axes) == 4  # B_hnl is left
    none = physics.copy()
    none.loc[none.population.isin(["A_hnl", "B_hnl"]), ["value", "low", "high"]] = np.nan
    figure = figures.efficiency_vs_time(none)
    titles = [axes.get_title("left").split(":")[0] for axes in figure.axes]
    assert titles == ["A, all", "B, all"]
    assert [len(axes.containers) for axes in figure.axes] == [2, 2]


def test_no_method_hides_another_that_is_as_fast_and_finds_as_many(physics):
    axes = figures.efficiency_vs_time(physics).axes[0]
    for larger, smaller in itertools.pairwise(axes.containers):
        for one, other in zip(larger.lines[2], smaller.lines[2], strict=True):
            assert one.get_linewidth() > other.get_linewidth()
            assert one.get_zorder() < other.get_zorder()
        assert larger.lines[0].get_markersize() > smaller.lines[0].get_markersize()
        assert larger.lines[0].get_zorder() < smaller.lines[2][0].get_zorder()


def test_methods_keep_their_colours_and_new_ones_get_their_own():
    styles = method_styles(["tiny", "CKF", "exatrkx", "mine", "CKF"], {"tiny", "exatrkx"})
    assert list(styles) == ["tiny", "CKF", "exatrkx", "mine"]
    assert styles["CKF"] == method_styles(["CKF"])["CKF"]
    assert len({style["color"] for style in styles.values()}) == 4
    many = method_styles(map(str, range(20))).values()
    assert len({(style["color"], style["marker"]) for style in many}) == 20
    assert [style["name"] for style in styles.values()] == [
        *("Exa.TrkX, tiny", "ACTS CKF", "Exa.TrkX", "mine"),
    ]


@pytest.mark.parametrize(("slowest_ns", "scale"), [(8_000_000, "linear"), (80_000_000, "log")])
def test_the_axis_of_times_is_logarithmic_where_methods_are_far_apart(slowest_ns, scale):
    labels = [0] * 5 + [5] * 5
    methods = {
        "exatrkx": make_method(labels),
        "reference": make_method(labels, duration_ns=slowest_ns),
    }
    table = physics_table([make_event()], methods, confidence_level=0.95)
    axes = figures.efficiency_vs_time(table).axes[0]
    low, high = axes.get_xlim()
    assert axes.get_xscale() == scale
    assert low < 4 < 2 * slowest_ns / 1e6 < high


def test_a_method_without_times_is_left_out_and_named(physics):
    untimed = physics[(physics.method == "CKF") & (physics.quantity != "time_mean_ms")]
    row = {"method": "mine", "quantity": "time_mean_ms", "variable": "overall", "total": 0}
    table = pd.concat([physics, untimed.assign(method="mine"), pd.DataFrame([row])])
    figure = figures.efficiency_vs_time(table)
    assert list(drawn_points(figure.axes[0])) == ["Exa.TrkX", "ACTS CKF"]
    assert "not timed, not shown: mine" in figure.axes[-1].get_xlabel()


@pytest.mark.parametrize("draw", DRAWN)
def test_a_sample_without_particles_or_candidates_says_so(draw, tmp_path):
    event = make_event(0, (), noise=3, pt=[])
    table = physics_table([event], {"m": make_method([-1] * 3)}, confidence_level=0.95)
    figure = draw(table)
    assert "The sample has no" in text_of(figure) or "No candidate" in text_of(figure)
    figure.savefig(tmp_path / "empty.png", dpi=30)


@pytest.mark.parametrize("draw", DRAWN)
def test_every_figure_can_be_saved(draw, physics, tmp_path):
    figures.save_figure(draw(physics), tmp_path / "figure")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")


def hnl_event(number, radius, sizes=(5, 6, 4)):
    """A prompt particle, a decay product from the HNL's vertex, and one from further out."""
    event = make_event(
        number,
        sizes,
        vr=[0.0, radius, radius + 50],
        vphi=[0.0, np.pi / 2, 1.0],
        vz=[-7.0, 20.0, 90.0],
        from_hnl=[False, True, True],
    )
    event.particles["particle_id"] = ["2|0|1|0|0", "2|1|2|0|0", "2|2|3|0|0"]
    return event


def test_the_flight_goes_from_the_collision_to_the_first_vertex_of_a_decay_product():
    assert hnl_flight(hnl_event(0, 150.0)) == pytest.approx(np.array([[0, 0, -7], [0, 150, 20]]))
    assert hnl_flight(make_event(0, (5,))) is None


def test_the_event_with_a_decay_seen_best_is_shown():
    # Event 0 decays too near, event 3 too far for the best; of the others, 2 has both products.
    events = [
        hnl_event(number, radius) for number, radius in enumerate((60.0, 150.0, 150.0, 700.0))
    ]
    both = [0] * 5 + [5] * 6 + [11] * 4
    one = [0] * 5 + [5] * 6 + [-1] * 4
    labels = {0: both, 1: one, 2: both, 3: both}
    tracks = pd.concat([to_tracks(np.array(label), event) for event, label in labels.items()])
    figure = figures.event_display(events, tracks)
    title = figure.axes[0].get_title("left")
    assert title == "Event 2: 15 space points, 3 tracks; an HNL decays 150 mm from the beam"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "tracks of its decay products: 2 of 2 found" in legend
    for axes, place in zip(figure.axes, [(20, 150), (0, 150), (0, 150)], strict=True):
        stars = [line for line in axes.lines if line.get_marker() == "*"]
        assert [star.get_xydata()[0] for star in stars] == [pytest.approx(place, abs=1e-9)]
        assert len(axes.collections[0].get_offsets()) == 15


def test_without_a_displaced_decay_the_event_with_most_particles_and_tracks_is_shown():
    # Event 3 has the most particles, but no tracks.
    events = [
        make_event(0, (5,)),
        hnl_event(1, 2.0),
        make_event(2, (5, 5)),
        make_event(3, (5,) * 9),
    ]
    one = [0] * 5
    labels = {0: one, 1: [*one, *[5] * 6, *[-1] * 4], 2: [*one, *[5] * 5]}
    tracks = pd.concat([to_tracks(np.array(label), event) for event, label in labels.items()])
    figure = figures.event_display(events, tracks)
    along, across = figure.axes
    assert along.get_title("left") == "Event 1: 15 space points, 2 tracks"
    assert len(along.collections[0].get_offsets()) == len(across.collections[0].get_offsets()) == 15
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0] == "tracks of population A: 2 of 3 found" and not any(
        "HNL" in text for text in legend
    )
    assert not [line for line in along.lines if line.get_marker() == "*"]


def test_an_event_without_tracks_can_be_drawn(tmp_path):
    figure = figures.event_display([hnl_event(5, 150.0)], to_tracks(np.array([-1]), 5))
    assert "0 tracks" in figure.axes[0].get_title("left")
    figure.savefig(tmp_path / "display.png", dpi=30)
