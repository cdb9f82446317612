"""The stages on a GPU, against the CPU; skipped where there is no GPU."""

import numpy as np
import pytest

from exatrkx_service.models.export import export_all, read_check_events
from exatrkx_service.pipeline.building import build_edges
from exatrkx_service.pipeline.device import resolve
from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.pipeline.tensors import to_numpy

pytestmark = pytest.mark.skipif(
    resolve("auto") == "cpu", reason="there is no GPU that torch and faiss see"
)


@pytest.fixture
def models(root, config, tmp_path):
    export_all(root / config["pipeline"]["weights"], tmp_path, config["pipeline"])
    return tmp_path


def outputs(pipeline, points):
    """What each stage gives, as arrays."""
    return {name: to_numpy(tensor) for name, tensor in pipeline(points).items()}


def pairs(edges):
    return set(map(tuple, np.sort(edges, axis=0).T.tolist()))


@pytest.mark.parametrize("n", [2, 40, 3000])
@pytest.mark.parametrize("k_max", [1, 20, 100])
def test_building_finds_the_edges_of_the_cpu(n, k_max):
    points = np.random.default_rng(n).normal(size=(n, 8)).astype(np.float32)
    here, there = (pairs(build_edges(points, 1.1, k_max, device)) for device in ("cpu", "cuda"))
    # Pairs at the radius, within the rounding of a distance, may fall on either side of it.
    assert len(here ^ there) <= 1e-4 * len(here) + 1


def test_every_stage_gives_the_same_bits_each_time_and_nearly_those_of_the_cpu(models, config):
    here, there = (
        local_pipeline(models, config["pipeline"] | {"device": device})
        for device in ("cpu", "cuda")
    )
    for points in read_check_events():
        first, *others = (outputs(there, points) for _ in range(4))
        for other in others:
            for name, array in first.items():
                np.testing.assert_array_equal(other[name], array, err_msg=name)
        expected = outputs(here, points)
        np.testing.assert_allclose(first["embedding"], expected["embedding"], rtol=0, atol=1e-4)
        for name in ("edges", "filtered_edges"):
            differing = pairs(first[name]) ^ pairs(expected[name])
            assert len(differing) <= 0.002 * expected[name].shape[1]
