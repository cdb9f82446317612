import json

import pytest
from tritonclient.utils import np_to_triton_dtype

from exatrkx_service.options import ENSEMBLE, FUSED, NETWORKS, STAGES
from exatrkx_service.pipeline.labeling import CUT_KEYS
from exatrkx_service.pipeline.tensors import DTYPES, SPECS, WHOLE_SPEC
from exatrkx_service.serving.repository import (
    RepositoryError,
    export_repository,
    prepare,
    read_config,
)


def test_the_tracked_repository_agrees_with_the_stages(root):
    specs = SPECS | dict.fromkeys((ENSEMBLE, FUSED), WHOLE_SPEC)
    for model, spec in specs.items():
        config = read_config(root / "model_repo" / model / "config.pbtxt")
        assert config.name == model
        assert tuple(t.name for t in config.input) == (*spec.inputs, *spec.optional)
        assert tuple(t.name for t in config.input if t.optional) == spec.optional
        assert [tensor.name for tensor in config.output] == [spec.output]
        for tensor in (*config.input, *config.output):
            triton = np_to_triton_dtype(DTYPES[tensor.name])
            assert {"FP32": 11, "INT64": 9, "INT32": 8}[triton] == tensor.data_type


def test_the_ensemble_chains_the_stages(root):
    steps = read_config(root / "model_repo" / ENSEMBLE / "config.pbtxt").ensemble_scheduling.step
    assert tuple(step.model_name for step in steps) == STAGES
    for step in steps:
        spec = SPECS[step.model_name]
        assert dict(step.input_map) == {name: name for name in (*spec.inputs, *spec.optional)}
        assert dict(step.output_map) == {spec.output: spec.output}


def test_the_tracked_parameters_are_those_of_the_default_configuration(root, config):
    for path in (root / "model_repo").glob("*/config.pbtxt"):
        for key, value in read_config(path).parameters.items():
            if key in config["pipeline"] and key != "device":
                assert value.string_value == str(config["pipeline"][key]), (path, key)


def test_the_models_that_label_know_how(root):
    for model in ("labeling", FUSED):
        parameters = read_config(root / "model_repo" / model / "config.pbtxt").parameters
        assert {"labeling", *CUT_KEYS.values()} <= set(parameters), model


def test_prepare_puts_the_settings_in(root, config, tmp_path):
    pipeline = config["pipeline"] | {"radius": 0.75, "threads": 3}
    pipeline |= {"labeling": "walkthrough", "walk_cut": 0.25}
    exported = tmp_path / "exported"
    export_repository(root / "model_repo", exported, pipeline)
    for stage in NETWORKS:
        assert not (exported / stage / "1" / "model.py").exists()
    prepare(exported, tmp_path / "served", pipeline, device="cuda", instances=4)
    for path in sorted((tmp_path / "served").glob("*/config.pbtxt")):
        model = read_config(path)
        if model.name == ENSEMBLE:
            assert not model.instance_group
            continue
        (group,) = model.instance_group
        assert (group.count, group.kind, list(group.gpus)) == (4, group.KIND_GPU, [0])
        if model.backend == "pytorch":
            assert model.parameters["INTRA_OP_THREAD_COUNT"].string_value == "3"
            identity = json.loads(model.parameters["identity"].string_value)
            assert identity == pipeline["networks"][model.name]
        else:
            assert model.parameters["radius"].string_value == "0.75"
            assert model.parameters["labeling"].string_value == "walkthrough"
            assert model.parameters["walk_cut"].string_value == "0.25"
            assert model.parameters["device"].string_value == "cuda"
        assert (path.parent / "1").resolve() == exported / model.name / "1"


def test_some_models_have_more_instances(root, config, tmp_path):
    instances = {"gnn": 3, FUSED: 2}
    where = (root / "model_repo", tmp_path / "served", config["pipeline"])
    prepare(*where, device="cpu", instances=instances)
    for path in (tmp_path / "served").glob("*/config.pbtxt"):
        for group in (model := read_config(path)).instance_group:
            assert group.count == instances.get(model.name, 1), model.name


def test_a_broken_configuration_is_named_with_its_line(tmp_path):
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "config.pbtxt"
    path.write_text('name: "m"\nbackend python\n')
    with pytest.raises(RepositoryError, match=rf"{path}: expected .*2:9"):
        prepare(tmp_path, tmp_path / "out", {}, device="cpu", instances=1)


def test_an_empty_repository_is_named(tmp_path):
    with pytest.raises(RepositoryError, match=f"{tmp_path}: expected a model repository"):
        prepare(tmp_path, tmp_path / "out", {}, device="cpu", instances=1)
