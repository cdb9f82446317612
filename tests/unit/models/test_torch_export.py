"""Files of torch.export: no way to run another program than operators of PyTorch."""

import json
import pickle
import zipfile

import pytest
import torch
from test_other_formats import Small, save

from exatrkx_service.models.foreign import ModelError
from exatrkx_service.models.torch_export import read

INPUTS = (torch.rand(9, 3), torch.zeros((2, 20), dtype=torch.int64))
MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save(tmp_path_factory.mktemp("good") / "good.pt2", Small(), INPUTS)


def changed(good, file, change):
    """The file with other records in it."""
    with zipfile.ZipFile(good) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(file, "w") as archive:
        for name, record in records.items():
            archive.writestr(f"{file.stem}/{name}", record)
    return file


def edited(name, edit):
    def change(records):
        content = json.loads(records[name])
        edit(content)
        records[name] = json.dumps(content).encode()

    return change


def graph(content):
    return content["graph_module"]["graph"]


def a_pickle(records, name):
    records[name] = pickle.dumps({"nothing": "bad"})


def other_examples(records):
    a_pickle(records, "data/sample_inputs/model.pt")


def pickled_weights(records):
    a_pickle(records, "data/weights/weight_0")
    edited(WEIGHTS, lambda c: c["config"]["layer.weight"].update(use_pickle=True))(records)


def pickled_object(records):
    a_pickle(records, "data/constants/opaque_obj_0")
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    entry["tensor_meta"] = None
    edited(CONSTANTS, lambda c: c["config"].update(thing=entry))(records)


def other_size(content):
    graph(content)["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = "len(s77)"


def other_condition(content):
    content["guards_code"] = ["print(s77) is None"]


def other_name(records):
    edited(WEIGHTS, lambda c: c["config"].update({"x y": c["config"]["layer.weight"]}))(records)


def test_example_inputs_are_not_read(good, tmp_path):
    file = changed(good, tmp_path / "other.pt2", other_examples)
    torch.testing.assert_close(read(file).module(*INPUTS), read(good).module(*INPUTS))


def other_call(content):
    graph(content)["nodes"][0]["target"] = "torch.hub.load"


def other_graph(content):
    graph(content)["nodes"][0]["inputs"][0]["arg"] = {"as_graph": {"name": "inner"}}


def other_schema(content):
    content["schema_version"]["major"] = 99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled_weights, "layer.weight is stored as a pickle, which can run any program"),
        (pickled_object, "thing is stored as a pickle"),
        (edited(MODEL, other_size), r"'len\(s77\)' in the graph, expected arithmetic of sizes"),
        (edited(MODEL, other_condition), r"'print\(s77\) is None' in the graph, expected arithm"),
        (other_name, "'x y' in the graph, expected a name"),
        (edited(MODEL, other_call), "calls torch.hub.load; expected operators of torch.ops.aten"),
        (edited(MODEL, other_graph), "as_graph in the graph, expected tensors and numbers"),
        (edited(MODEL, other_schema), r"torch 2\..* can't use it: .*99"),
        (edited(MODEL, dict.clear), "expected a file of torch.export.save: 'graph_module'"),
        (lambda records: records.pop(MODEL), "no models/model.json in it; expected a file of"),
        (lambda records: records.pop(WEIGHTS), "expected a file of torch.export.save: "),
        (lambda records: records.update({MODEL: b"{"}), "expected a file of torch.export.save: "),
    ],
)
def test_a_file_with_something_else_in_it_is_named(good, tmp_path, change, message):
    with pytest.raises(ModelError, match=f"bad.pt2: {message}") as error:
        read(changed(good, tmp_path / "bad.pt2", change))
    assert "\n" not in str(error.value)


def test_what_was_saved_on_a_gpu_runs_here(good, tmp_path):
    def change(records):
        for name in (MODEL, WEIGHTS):
            there = b'{"type": "cuda", "index": 0}'
            records[name] = records[name].replace(b'{"type": "cpu", "index": null}', there)
            assert there in records[name]

    network = read(changed(good, tmp_path / "gpu.pt2", change))
    torch.testing.assert_close(network.module(*INPUTS), read(good).run(*INPUTS))
