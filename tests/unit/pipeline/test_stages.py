import subprocess
import sys

import numpy as np
import pytest
import torch

from exatrkx_service.pipeline import device
from exatrkx_service.pipeline.pipeline import LocalStep, Pipeline
from exatrkx_service.pipeline.stages import ModelFileError, load_scripted, make_stage
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import to_numpy, to_tensor


def test_arrays_are_shared_not_copied():
    array = np.arange(6, dtype=np.float32)
    tensor = to_tensor(array, "cpu")
    assert tensor.data_ptr() == array.ctypes.data
    assert to_numpy(tensor).ctypes.data == array.ctypes.data
    assert to_tensor(tensor, "cpu") is tensor


def test_received_arrays_are_shared_without_a_warning():
    # In a process of its own, for torch warns of the first such array alone.
    code = """
import numpy as np
from exatrkx_service.pipeline.tensors import to_tensor
array = np.frombuffer(np.arange(6, dtype=np.float32).tobytes(), np.float32)
assert to_tensor(array, "cpu").data_ptr() == array.ctypes.data
"""
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=False)
    assert done.returncode == 0


def test_a_corrupt_model_is_named(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"no TorchScript")
    with pytest.raises(ModelFileError, match=rf"{path}: expected a TorchScript file"):
        load_scripted(path, "cpu", {})


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"model\.pt: no such file; `snakemake export`"):
        make_stage("gnn", tmp_path, {"device": "cpu", "networks": {"gnn": {}}})


def test_an_unknown_stage_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown stage 'gnnn'; expected one of embedding"):
        make_stage("gnnn", tmp_path, {"device": "cpu"})


BRANCH = (np.zeros((3, 3)), np.array([[0, 0], [1, 2]]), np.array([0.6, 0.9], np.float32))


@pytest.mark.parametrize(
    "labeling, gnn_cut, walk_cut, labels",
    [
        ("components", 0.5, 0.95, [0, 0, 0]),
        ("components", 0.8, 0.1, [0, -1, 0]),
        ("walkthrough", 0.5, 0.1, [0, -1, 0]),
        ("walkthrough", 0.5, 0.95, [-1, -1, -1]),
    ],
)
@pytest.mark.parametrize("kind", [float, str])  # str: as a server's model gets its parameters
def test_the_labeling_and_its_cut_are_those_named(
    tmp_path, labeling, gnn_cut, walk_cut, labels, kind
):
    cuts = {"gnn_cut": kind(gnn_cut), "walk_cut": kind(walk_cut)}
    stage = make_stage("labeling", tmp_path, {"device": "cpu", "labeling": labeling} | cuts)
    assert stage(*BRANCH).tolist() == labels


def test_an_unknown_labeling_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown labeling 'walk'; expected one of components, w"):
        make_stage("labeling", tmp_path, {"device": "cpu", "labeling": "walk"})


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(RuntimeError, match=r"pipeline\.device: cuda, but torch sees no GPU"):
        device.resolve("cuda")
    assert device.resolve("auto") == "cpu"


def test_a_gpu_that_only_torch_sees_is_not_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("faiss.get_num_gpus", lambda: 0)
    with pytest.warns(UserWarning, match="only torch sees a GPU: faiss-gpu has to take the place"):
        assert device.resolve("auto") == "cpu"
    with (
        pytest.warns(UserWarning),
        pytest.raises(RuntimeError, match=r"pipeline\.device: cuda, but only torch sees a GPU"),
    ):
        device.resolve("cuda")


def test_the_laps_leave_no_gap():
    function = {"embedding": np.copy, "building": lambda x: np.empty((2, 0), np.int32)}
    steps = [LocalStep(stage, function[stage]) for stage in function]
    pipeline = Pipeline([*steps, LocalStep("labeling", lambda x, e, s: np.full(len(x), -1))])
    watch = Stopwatch()
    tensors = {"filtered_edges": None, "edge_scores": None, "space_points": np.ones((4, 3))}
    for step in pipeline.steps:
        step(tensors, watch, "")
    assert [lap.stage for lap in watch.laps] == ["embedding", "building", "labeling"]
    begin = watch.start_ns
    for lap in watch.laps:
        assert lap.start_ns == begin
        begin += lap.duration_ns
    assert begin == watch.now_ns
