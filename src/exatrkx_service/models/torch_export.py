"""Networks that others saved with ``torch.export.save`` (.pt2), as TorchScript.

``torch.export.load`` of torch 2.13 trusts its file: it unpickles, and evaluates text that stands in
it. So of a file only the graph and the numbers of the weights are taken, all text of the graph is
checked, and torch reads what is left.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.pt2_archive import _package as archive
from torch.utils import _pytree as pytree

from exatrkx_service.models.network_file import Input, ModelError, ReadNetwork
from exatrkx_service.pipeline.stages import reason

_MODEL = "models/model.json"
_SAMPLES = "data/sample_inputs/model.pt"  # a pickle
# Where the numbers are, what describes them, and how their files are called.
_NUMBERS = (
    ("data/weights/", "model_weights_config.json", "weight_"),
    ("data/constants/", "model_constants_config.json", "tensor_"),
)
# What may stand in a graph: numbers, tensors and lists of them; no objects, no other graphs.
_ARGUMENTS = frozenset(
    f"as_{kind}"
    for kind in (
        *("none", "bool", "bools", "int", "ints", "int_lists", "float", "floats", "float_lists"),
        *("complex", "string", "strings", "name", "expr", "tensor", "tensors", "optional_tensors"),
        *("optional_tensor", "nested_tensors", "sym_int", "sym_ints", "sym_bool", "sym_bools"),
        *("sym_float", "sym_floats", "device", "layout", "memory_format", "scalar_type"),
    )
)
_INPUTS = {"user_input", "parameter", "buffer", "tensor_constant"}
# Of text that is more than a name: equations of einsum and the like, and numbers JSON has not.
_FLOAT = r"-?Infinity|NaN"
_TEXT = {"as_string": r"[\w.,> -]*", "as_float": _FLOAT, "as_floats": _FLOAT}
# Functions of sizes, as sympy writes them.
_OF_SIZES = frozenset(
    (
        *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Abs"),
        *("Mod", "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "ModularIndexing", "Where"),
        *("IntTrueDiv", "FloatTrueDiv", "PowByNatural", "CeilToInt", "FloorToInt", "TruncToInt"),
        *("ToFloat", "Equality", "Unequality", "GreaterThan", "LessThan", "StrictGreaterThan"),
        *("StrictLessThan", "Eq", "Ne", "And", "Or", "Not"),
    )
)
_EXPRESSION = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Call, ast.keyword, ast.BinOp, ast.UnaryOp),
    *(ast.Compare, ast.BoolOp, ast.Load, ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
    *(ast.Subscript, ast.Attribute),
)
_OPERATOR = re.compile(r"torch\.ops\.aten\.(_?[a-z][a-z0-9_]*)\.([A-Za-z][A-Za-z0-9_]*)")
_ON_SIZES = re.compile(
    r"_operator\.(add|sub|mul|truediv|floordiv|mod|neg|getitem|eq|ne|lt|le|gt|ge|and_|or_)|"
    r"torch\.sym_(float|max|min|not)"
)
# What TorchScript has in the place of what torch.export calls.
_IN_SCRIPT = {
    torch.ops.aten.sym_size.int: torch.ops.aten.size,
    torch.ops.aten.sym_numel.default: torch.ops.aten.numel,
    **{torch.sym_float: float, torch.sym_max: max, torch.sym_min: min},
}
_ANY = 2**62  # a size that has no upper bound is compared with it
_ASSERTION = re.compile(r"torch\.ops\.aten\.(_assert_|sym_constrain_range).*")  # computes nothing


def read(path: Path) -> ReadNetwork:
    """Reads a network; nothing that the file brings along is run but operators of PyTorch.

    Args:
        path: the file.

    Raises:
        ModelError: it is no file of ``torch.export.save``, has something in it that is not taken,
            gives something else than one tensor, or can't be had as TorchScript.
    """
    buffer = _cleaned(path)
    try:
        program = archive.load_pt2(buffer).exported_programs["model"]
        # Without examples torch leaves out the conditions on sizes; their values do not matter.
        examples = tuple(torch.zeros(0) for _ in program.graph_signature.user_inputs)
        program.example_inputs = (examples, {})
        module, bare = _without_conditions(program), program.module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of annotations in torch's own graph module
            script = torch.jit.script(_for_script(module)).eval()
    except Exception as error:  # of many kinds, some of them torch's own
        raise ModelError(
            f"{path}: torch {torch.__version__} can't use it: {reason(error)}"
        ) from None
    user_inputs = set(program.graph_signature.user_inputs)
    tensors = [node.meta["val"] for node in program.graph.nodes if node.name in user_inputs]
    inputs = [
        Input(name, str(tensor.dtype)[6:], _shape(path, program, name, tensor.shape))
        for name, tensor in zip(program.graph_signature.user_inputs, tensors, strict=True)
    ]
    return ReadNetwork(script, inputs, bare)


def _cleaned(path: Path) -> io.BytesIO:
    """A file as ``torch.export.save`` writes it, with what is checked alone."""
    try:
        with zipfile.ZipFile(path) as given:
            names = given.namelist()
            root = next((n[: -len(_MODEL)] for n in names if n.endswith(f"/{_MODEL}")), None)
            if root is None:
                raise ModelError(
                    f"{path}: no {_MODEL} in it; expected a file of torch.export.save, of torch "
                    "2.8 or newer"
                )
            records = {n.removeprefix(root): given.read(n) for n in names if n.startswith(root)}
        cleaned = {_MODEL: _program(path, json.loads(records[_MODEL])), _SAMPLES: b""}
        for folder, description, prefix in _NUMBERS:
            payloads = _payloads(path, json.loads(records[folder + description]), prefix)
            cleaned[folder + description] = payloads
            files = {entry["path_name"] for entry in payloads["config"].values()}
            cleaned |= {folder + file: records[folder + file] for file in files}
    except ModelError:
        raise
    except (
        OSError,
        zipfile.BadZipFile,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise ModelError(f"{path}: expected a file of torch.export.save: {reason(error)}") from None
    buffer = io.BytesIO()
    with archive.PT2ArchiveWriter(buffer) as writer:
        for name, record in cleaned.items():
            text = record if isinstance(record, bytes) else json.dumps(record).encode()
            writer.write_bytes(name, text)
    buffer.seek(0)
    return buffer


def _payloads(path: Path, description: dict, prefix: str) -> dict:
    """The description of a file's numbers, checked."""
    for name, entry in description["config"].items():
        if entry["use_pickle"] or not re.fullmatch(rf"{prefix}\d+", entry["path_name"]):
            raise ModelError(
                f"{path}: {name[:64]} is stored as a pickle, which can run any program; expected "
                "plain tensors"
            )
    return _checked(path, description)


def _program(path: Path, program: dict) -> dict:
    """The description of a graph, checked, without what only helps to debug it."""
    module = program["graph_module"]
    nodes = [n for n in module["graph"]["nodes"] if not _ASSERTION.fullmatch(str(n["target"]))]
    module["graph"]["nodes"] = nodes
    for node in nodes:
        if not _is_known(node["target"]):
            raise ModelError(
                f"{path}: calls {str(node['target'])[:64]}; expected operators of torch.ops.aten "
                "alone"
            )
        node["metadata"] = {}
    inputs, outputs = (module["signature"][f"{kind}_specs"] for kind in ("input", "output"))
    kinds = {kind for spec in inputs for kind in spec}
    if not kinds <= _INPUTS:
        raise ModelError(
            f"{path}: takes {', '.join(sorted(kinds - _INPUTS))[:64]}, expected tensors alone"
        )
    call = module["module_call_graph"][0]["signature"]
    one = pytree.treespec_dumps(pytree.tree_structure(0))
    if json.loads(call["out_spec"]) != json.loads(one) or len(outputs) != 1:
        raise ModelError(f"{path}: gives several tensors, or one in a list, expected one tensor")
    call |= {"in_spec": "", "out_spec": ""}
    guards = program.pop("guards_code", None) or []
    for guard in guards:
        _check_expression(path, guard)
    for bounds in program["range_constraints"].values():
        # torch takes sizes 0 and 1 for special unless one asks for them, and need not.
        if bounds["min_val"] in (1, 2):
            bounds["min_val"] = 0
    module |= {"metadata": {}, "treespec_namedtuple_fields": {}}
    module["module_call_graph"] = [{"fqn": "", "signature": call}]
    program["torch_version"] = ""
    checked = _checked(path, program)
    n_inputs = sum("user_input" in spec for spec in inputs)
    given = pytree.tree_structure(((0,) * n_inputs, {}))
    call = checked["graph_module"]["module_call_graph"][0]["signature"]
    call |= {"in_spec": pytree.treespec_dumps(given), "out_spec": one}
    return checked | {"guards_code": guards}


def _is_known(target: Any) -> bool:
    """Whether a node calls an operator of PyTorch, or does arithmetic."""
    found = _OPERATOR.fullmatch(str(target))
    if found is None:
        return _ON_SIZES.fullmatch(str(target)) is not None
    packet = getattr(torch.ops.aten, found[1], None)
    return isinstance(getattr(packet, found[2], None), OpOverload)


def _checked(path: Path, value: Any, key: str = "") -> Any:
    """A part of a description, if all text in it can be nothing but a name; devices are the CPU."""
    if isinstance(value, dict):
        if set(value) == {"type", "index"}:
            return {"type": "cpu", "index": None}
        for name in value:
            if name.startswith("as_") and name not in _ARGUMENTS:
                raise ModelError(f"{path}: {name[:64]} in the graph, expected tensors and numbers")
        return {_checked(path, k): _checked(path, v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_checked(path, entry, key) for entry in value]
    if isinstance(value, str):
        if key == "expr_str":
            _check_expression(path, value)
        elif not re.fullmatch(_TEXT.get(key, r"[\w.]*"), value, re.ASCII):
            raise ModelError(f"{path}: {value[:64]!r} in the graph, expected a name")
    return value


def _check_expression(path: Path, text: str) -> None:
    """Text that torch evaluates must be arithmetic of sizes."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError):
        nodes = [ast.Lambda()]
    for node in nodes:
        good = isinstance(node, _EXPRESSION)
        if isinstance(node, ast.Name):
            good = node.id in _OF_SIZES or node.id == "L" or re.fullmatch(r"[a-z]+\d+", node.id)
        elif isinstance(node, ast.Attribute):
            good = node.attr == "size"
        elif isinstance(node, ast.Call):
            good = isinstance(node.func, ast.Name | ast.Attribute)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            good = re.fullmatch(r"\w*|-?\d+\.\d*(e[+-]?\d+)?", node.value, re.ASCII)
        if not good:
            raise ModelError(f"{path}: {text[:64]!r} in the graph, expected arithmetic of sizes")


def _shape(
    path: Path, program: ExportedProgram, name: str, shape: Sequence[int | torch.SymInt]
) -> list[int | str]:
    """A number or a name for each dimension; one with a name can be of any size."""
    found: list[int | str] = []
    for size in shape:
        symbol = size if isinstance(size, int) else size.node.expr
        bounds = program.range_constraints.get(symbol)
        if bounds is None and not isinstance(size, int):
            raise ModelError(f"{path}: input {name} has a size {symbol}, expected any number")
        if bounds is not None and (bounds.lower > 0 or bounds.upper < _ANY):
            raise ModelError(
                f"{path}: input {name} has {bounds.lower} to {bounds.upper} entries, expected any "
                "number (dynamic_shapes, without a least and a largest one)"
            )
        found.append(symbol if isinstance(size, int) else str(symbol))
    return found


def _without_conditions(program: ExportedProgram) -> fx.GraphModule:
    """The graph with tensors as arguments and result, without checks of their sizes."""
    module = program.module()
    for node in module.graph.find_nodes(op="call_module", target="_guards_fn"):
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.graph.set_codegen(fx.graph.CodeGen())
    output = module.graph.output_node()
    output.args = tuple(output.args[0])
    return module


def _for_script(module: fx.GraphModule) -> fx.GraphModule:
    """A graph that can be scripted: there operators are found by the types of the arguments."""

    def in_script(value: Any) -> Any:
        """TorchScript has no literals of numbers that are not finite."""
        if isinstance(value, float) and not math.isfinite(value):
            return module.graph.call_function(float, (str(value),))
        return value

    for node in list(module.graph.nodes):
        if node.op == "call_function":
            packet = getattr(node.target, "overloadpacket", node.target)
            node.target = _IN_SCRIPT.get(node.target, packet)
            with module.graph.inserting_before(node):
                node.args = fx.node.map_aggregate(node.args, in_script)
                node.kwargs = fx.node.map_aggregate(node.kwargs, in_script)
    return fx.GraphModule(module, module.graph)
