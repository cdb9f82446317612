import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.pipeline.labeling import label_tracks

CUT = 0.5


@st.composite
def graphs(draw):
    n = draw(st.integers(0, 30))
    node = st.integers(0, max(n - 1, 0))
    pairs = st.tuples(node, node).filter(lambda pair: pair[0] != pair[1])
    edges = draw(st.lists(pairs, max_size=60, unique=True)) if n > 1 else []
    scores = draw(
        st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=len(edges), max_size=len(edges))
    )
    return n, np.array(edges, np.int64).reshape(-1, 2).T, np.array(scores, np.float32)


@given(graphs())
def test_agrees_with_networkx(graph):
    n, edges, scores = graph
    expected = np.full(n, -1)
    reference = nx.Graph(list(map(tuple, edges[:, scores >= CUT].T.tolist())))
    for component in nx.connected_components(reference):
        expected[list(component)] = min(component)
    labels = label_tracks(n, edges, scores, CUT)
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int64


@given(graphs(), st.randoms())
def test_does_not_depend_on_the_order_or_direction_of_edges(graph, random):
    n, edges, scores = graph
    order = random.sample(range(len(scores)), len(scores))
    np.testing.assert_array_equal(
        label_tracks(n, edges[::-1, order], scores[order], CUT),
        label_tracks(n, edges, scores, CUT),
    )
