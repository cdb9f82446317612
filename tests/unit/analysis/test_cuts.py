import numpy as np
import pandas as pd
import pytest
import yaml

from exatrkx_service.analysis import cuts, figures
from exatrkx_service.analysis.cuts import CUTS_COLUMNS, TARGETS, working_point
from exatrkx_service.models.data import TrainingEvent
from exatrkx_service.models.training import CURVE_COLUMNS

# One particle with four points; edges 0-1, 1-2 and 2-3 are true.
EVENT = TrainingEvent(
    np.zeros((5, 3), np.float32),
    np.array([0, 0, 0, 0, 1]),
    np.array([1, 2, 3, -1, -1]),
    np.array([True, True, True, True, False]),
)
EDGES = np.array([[0, 1, 2, 0, 3], [1, 2, 3, 4, 4]])
SCORES = np.array([0.9, 0.6, 0.2, 0.7, 0.1])


def table(cut, hnl, everything=None, **columns):
    """A scan with values 1, 2, ..., and the given efficiencies."""
    n = len(hnl)
    rows = {"cut": cut, "value": np.arange(1.0, n + 1), "edges_per_event": 1000.0}
    rows |= {"edge_efficiency": everything or hnl, "edge_efficiency_hnl": hnl, "edge_purity": 0.1}
    return pd.DataFrame(rows | columns).reindex(columns=CUTS_COLUMNS[:-1])


def test_a_scan_counts_the_edges_that_pass():
    rows = cuts._scan("filter_cut", [0.15, 0.5, 0.95], [EVENT], [EDGES], [SCORES])
    assert rows.edges_per_event.tolist() == [4, 3, 0]
    assert rows.edge_efficiency.tolist() == pytest.approx([1, 2 / 3, 0])
    assert rows.edge_purity.tolist()[:2] == pytest.approx([3 / 4, 2 / 3])
    assert np.isnan(rows.edge_purity[2])
    near = cuts._scan("radius", [0.15, 0.65], [EVENT], [EDGES], [-SCORES], sign=-1)
    assert near.edges_per_event.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("cut", "hnl", "everything", "value"),
    [
        ("radius", [0.9, 0.9961, 0.997, 1.0], None, 2),  # the smallest that reaches the target
        ("radius", [0.9, 0.98, 0.99, 0.99], None, 3),  # none does: the best
        ("filter_cut", [0.995, 0.988, 0.98, 0.9], None, 2),  # the largest that reaches the target
        ("filter_cut", [0.97, 0.97, 0.96, 0.9], None, 2),
        ("radius", [np.nan] * 4, [0.9, 0.99, 0.996, 1.0], 3),  # no HNL in the sample
    ],
)
def test_the_cut_that_reaches_the_target_is_chosen(cut, hnl, everything, value):
    chosen = cuts._choose(table(cut, hnl, everything))
    assert chosen.value[chosen.chosen].tolist() == [value]


def test_the_gnn_cut_has_the_best_technical_efficiency():
    technical = {
        "technical_efficiency": [0.9, 0.99, 0.98, 0.9],
        "technical_efficiency_hnl": [0.5, 0.8, 0.9, 0.98],
    }
    rows = table("gnn_cut", [1.0] * 4).drop(columns=list(technical)).assign(**technical)
    chosen = cuts._choose(rows)
    assert chosen.value[chosen.chosen].tolist() == [4]  # as good as 3, and larger


def test_nothing_to_choose_by_is_an_error():
    with pytest.raises(ValueError, match="radius: no true edges or particles in the validation ev"):
        cuts._choose(table("radius", [np.nan] * 2, [np.nan] * 2))


@pytest.fixture
def scanned():
    technical = {"technical_efficiency": [0.9, 0.95], "technical_efficiency_hnl": [0.8, 0.7]}
    last = [
        table(cut, [0.9, 0.9]).drop(columns=list(technical)).assign(**technical)
        for cut in ("gnn_cut", "walk_cut")
    ]
    rows = [table("radius", [0.99, 0.9961]), table("filter_cut", [0.97, 0.9]), *last]
    return pd.concat(map(cuts._choose, rows)).reindex(columns=CUTS_COLUMNS)


def test_the_working_point_is_an_overlay_that_says_which_target_is_missed(scanned):
    text, missed = working_point(scanned, "results/models", 100)
    cut_values = {"radius": 2.0, "filter_cut": 1.0, "gnn_cut": 1.0, "walk_cut": 1.0}
    assert yaml.safe_load(text) == {"pipeline": {"weights": "results/models"} | cut_values}
    assert "radius: edge efficiency (HNL) 0.9961, 1000 edges per event; target 0.996" in text
    (line,) = missed
    assert line.startswith("filter_cut: edge efficiency (HNL) 0.9700") and line in text
    assert f"the target of {TARGETS['filter_cut']} is missed" in line


def test_the_figures_of_the_training_can_be_drawn(scanned, tmp_path):
    figure = figures.efficiency_vs_cut(scanned)
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    assert [axes.get_title("left") for axes in panels] == [
        *("after building; chosen: 2", "after filtering; chosen: 1"),
        *("after GNN; chosen: 1", "after GNN; chosen: 1"),
    ]
    lines = panels[2].get_lines()
    assert lines[3].get_ydata().tolist() == [0.8, 0.7]
    assert lines[4].get_xdata() == [1.0, 1.0]
    curve = pd.DataFrame(1.0, index=range(3), columns=list(CURVE_COLUMNS)).assign(
        epoch=[1, 2, 3],
        validation_loss=[2.0, 0.5, 1.0],
        edge_efficiency=0.9,
        edge_efficiency_hnl=np.nan,
    )
    curves = figures.learning_curves(dict.fromkeys(("embedding", "filtering", "gnn"), curve))
    assert curves.axes[0].get_lines()[1].get_ydata().tolist() == [2.0, 0.5, 1.0]
    assert curves.axes[0].get_lines()[2].get_xdata() == [2, 2]
    for name, drawn in (("cuts", figure), ("curves", curves)):
        drawn.savefig(tmp_path / name, dpi=30)
