"""Every figure can be read: axes are labelled, no text lies on another one or is cut."""

import itertools
import os
import subprocess
import sys

import pandas as pd
import pytest
from drawn import draw_others, draw_tables
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from tables import make_tables

TIMED = [
    *("comparison", "overhead", "latency_vs_concurrency", "throughput_vs_concurrency"),
    *("latency_distribution", "time_vs_space_points", "ensemble_timeline"),
    *("resources", "study_batch", "study_ensemble"),
]
FIGURES = [
    *(*TIMED, "efficiency", "fake_and_duplicate_rates", "efficiency_vs_time"),
    *("event_display", "learning_curves", "efficiency_vs_cut", "changes", "coverage"),
]
SLOW, MANY = ", slow", ", many"
WEIGHTS = "src/exatrkx_service/models/weights"
DRAW = """
import sys
from drawn import draw_others, draw_tables
from exatrkx_service.analysis.figures import save_figure
from hand_made import make_physics
from synthetic import make_timings
from tables import make_tables

timed = draw_tables(make_tables(make_timings(n_events=8, concurrencies=(1, 2))))
for name, figure in (timed | draw_others(make_physics(), sys.argv[1])).items():
    save_figure(figure, name)
"""
# What a user may have set, here too much of it to overlook.
MATPLOTLIBRC = """
axes.facecolor: red
figure.facecolor: red
savefig.facecolor: red
savefig.dpi: 30
savefig.bbox: tight
figure.dpi: 300
font.size: 20
lines.linewidth: 9
axes.unicode_minus: False
pdf.fonttype: 3
text.usetex: True
"""
WITH_UNIT = ("time", "overhead", "throughput", "momentum", "production radius", "radius of", "loss")


@pytest.fixture(scope="module")
def drawn(synthetic, tables, physics, root):
    """All figures; those of events that take 300 times as long; those with ten track finders."""
    timings, _, reference = synthetic
    slow = timings.assign(duration_ns=300 * timings.duration_ns, start_ns=300 * timings.start_ns)
    ckf = physics[physics.method == "CKF"]
    more = [ckf.assign(method=f"of_a_long_name_{i}") for i in range(8)]
    drawn = {
        "": draw_tables(tables) | draw_others(physics, root / WEIGHTS),
        SLOW: draw_tables(make_tables(slow, reference=reference)),
        MANY: draw_others(pd.concat([physics, *more]), root / WEIGHTS),
    }
    return {f"{name}{kind}": each for kind in drawn for name, each in drawn[kind].items()}


def test_these_are_all_figures(drawn, root):
    captions = {path.stem for path in (root / "workflow" / "report").glob("*.rst")}
    assert {name.split(",")[0] for name in drawn} == set(FIGURES)
    assert captions == {*FIGURES, "physics", "summary", "workflow"}


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_has_a_label_with_its_unit(drawn, name):
    figure = drawn[name]
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        for axis, of_all in ((axes.xaxis, ""), (axes.yaxis, figure.get_supylabel())):
            if axis.get_visible() and any(
                tick.get_visible() and tick.get_text() for tick in axis.get_ticklabels()
            ):
                label = axis.get_label().get_text() or of_all
                assert label, f"{axes.get_title('left')}: no label of {axis.axis_name}"
                assert "[" in label or not label.startswith(WITH_UNIT), label


@pytest.mark.parametrize(
    "name",
    [
        *(*FIGURES, *(f"{name}{SLOW}" for name in TIMED)),
        *(f"{name}{MANY}" for name in FIGURES if name not in TIMED),
    ],
)
def test_no_text_is_cut_or_lies_on_another(drawn, name, monkeypatch):
    texts = []
    draw = Text.draw

    def note(text, renderer):
        texts.append(text)
        draw(text, renderer)

    monkeypatch.setattr(Text, "draw", note)
    canvas = FigureCanvasAgg(drawn[name])
    canvas.draw()
    frame = drawn[name].bbox.padded(1)
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in texts
        if text.get_visible() and text.get_text().strip()
    ]
    for text, box in boxes:
        assert frame.contains(*box.min) and frame.contains(*box.max), text
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), f"{one!r} and {other!r}"


def test_settings_of_the_user_change_no_figure(tmp_path, root):
    path = f"{root / 'src'}:{root / 'tests' / 'unit' / 'analysis'}"
    files = {}
    for folder, settings, backend in (("plain", "", "agg"), ("set", MATPLOTLIBRC, "no-such-one")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "matplotlibrc").write_text(settings)
        subprocess.run(
            [sys.executable, "-c", DRAW, root / WEIGHTS],
            cwd=tmp_path / folder,
            check=True,
            env=os.environ | {"PYTHONPATH": path, "MPLBACKEND": backend},
        )
        files[folder] = {p.name: p.read_bytes() for p in (tmp_path / folder).glob("*.p[nd]*")}
    assert len(files["plain"]) == 2 * len(FIGURES)
    assert [name for name in files["plain"] if files["plain"][name] != files["set"][name]] == []
