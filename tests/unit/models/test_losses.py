import numpy as np
import pytest
from torch import nn

from exatrkx_service.models.data import TrainingEvent
from exatrkx_service.models.losses import (
    HNL_WEIGHT,
    MARGIN,
    TAIL_START,
    TAIL_WEIGHT,
    embedding_loss,
)

RADIUS = 1.0


class AsItIs(nn.Linear):
    """An embedding that leaves the coordinates of a point as they are."""

    def __init__(self):
        super().__init__(3, 3, bias=False)
        nn.init.eye_(self.weight)


def line_of(*positions, from_hnl=False):
    """One particle with points 0 and 1, and other points of no particle, along a line."""
    n = len(positions)
    particle = np.full(n, -1)
    particle[:2] = 0
    successor = np.full(n, -1)
    successor[0] = 1
    points = np.zeros((n, 3), np.float32)
    points[:, 0] = positions
    return TrainingEvent(points, particle, successor, np.full(n, from_hnl) & (particle >= 0))


def test_a_true_edge_attracts_by_its_squared_length():
    loss = embedding_loss(AsItIs(), line_of(0, 0.5), RADIUS, 10)
    assert float(loss.minimised.detach()) == pytest.approx(0.25)
    assert float(loss.shown) == 0


def test_a_long_true_edge_attracts_much_more():
    loss = embedding_loss(AsItIs(), line_of(0, 2.0), RADIUS, 10)
    expected = 4 + TAIL_WEIGHT * (2 - TAIL_START) ** 2
    assert float(loss.minimised.detach()) == pytest.approx(expected)


def test_other_pairs_within_the_margin_repel_and_shorter_ones_are_counted():
    # False pairs: 0.2 and 0.3 away from one end or the other, 0.7 and 0.8, and 0.1.
    event = line_of(0, 0.5, 0.7, 0.8)
    lengths = np.array([0.7, 0.8, 0.2, 0.3, 0.1])
    loss = embedding_loss(AsItIs(), event, RADIUS, 10)
    repulsion = np.mean((MARGIN - lengths) ** 2)
    assert float(loss.minimised.detach()) == pytest.approx(0.25 + repulsion, rel=1e-5)
    assert float(loss.shown) == 3


def test_edges_of_hnl_decay_products_weigh_more():
    points = np.zeros((4, 3), np.float32)
    points[:, 0] = [0, 0.5, 100, 100.1]
    event = TrainingEvent(
        points,
        np.array([0, 0, 1, 1]),
        np.array([1, -1, 3, -1]),
        np.array([True, True, False, False]),
    )
    loss = embedding_loss(AsItIs(), event, RADIUS, 10)
    expected = (HNL_WEIGHT * 0.25 + 0.01) / (HNL_WEIGHT + 1)
    assert float(loss.minimised.detach()) == pytest.approx(expected, rel=1e-3)


def test_a_loss_without_true_or_false_edges_is_nothing():
    event = line_of(0, 5.0)
    alone = TrainingEvent(event.space_points, np.full(2, -1), np.full(2, -1), np.zeros(2, bool))
    loss = embedding_loss(AsItIs(), alone, RADIUS, 10)
    assert float(loss.minimised.detach()) == float(loss.shown) == 0
