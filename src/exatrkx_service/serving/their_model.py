"""A model that somebody else serves: what it takes and gives, as the server says it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from exatrkx_service.options import TheirModel
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.inquiry import Inquiry

FLOATS = ("FP32", "FP64", "FP16")
INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")


def ask_interface(server: Inquiry, model: TheirModel) -> TheirModel:
    """The model with what the server says of its input.

    Raises:
        ServerError: the server does not say, has no such model, or the model takes or gives
            something else than the configuration says; names the key.
    """
    version = (model.version,) if model.version else ()
    if not server.ask("is_model_ready", model.name, *version):
        which = f" in version {model.version}" if version else ""
        raise ServerError(
            f"server.model.name: {model.name}: the server at {server.url} is not ready with such a "
            f"model{which}"
        )
    metadata = server.ask("get_model_metadata", model.name, *version)
    optional: set[str] = set()
    if len(metadata.get("inputs", ())) > 1:
        # The metadata don't say which of them a request need not have; some gateways have no more.
        with contextlib.suppress(ServerError):
            config = server.ask("get_model_config", model.name, *version)
            config = config.get("config", config)  # gRPC wraps it
            optional = {i["name"] for i in config.get("input", ()) if i.get("optional")}
    return check_interface(model, metadata, optional)


def check_interface(
    model: TheirModel, metadata: Mapping[str, Any], optional: Collection[str] = ()
) -> TheirModel:
    """See ``ask_interface``.

    Args:
        model: as configured.
        metadata: as in KServe's protocol, version 2.
        optional: inputs that a request need not have.
    """
    inputs, outputs = (_tensors(metadata.get(key, ())) for key in ("inputs", "outputs"))
    for key, name, tensors in (("input", model.input, inputs), ("output", model.output, outputs)):
        if name not in tensors:
            raise ServerError(
                f"server.model.{key}: {name}: the model {model.name} has no such tensor; expected "
                f"one of {', '.join(tensors) or 'none'}"
            )
    if others := [name for name in inputs if name != model.input and name not in optional]:
        raise ServerError(
            f"server.model.input: the model {model.name} takes {', '.join(others)} as well; "
            f"expected a model that takes {model.input} alone"
        )
    datatype, shape = inputs[model.input]
    expected = f"float numbers in shape [-1, {model.width}], a row for each space point"
    found = f"the model {model.name} takes {model.input} as {datatype} {_text(shape)}"
    rows, columns = (shape[-2:] if len(shape) > 1 else [0, 0])[:2]
    if datatype not in FLOATS or rows != -1 or len(shape) > 3 or shape[:-2] not in ([], [-1], [1]):
        raise ServerError(f"server.model.input: {found}; expected {expected}")
    if columns not in (-1, model.width):
        given = "server.model.columns" if model.columns else ", ".join(model.features)
        raise ServerError(
            f"server.model.features: {found}, {columns} columns; {model.width} are configured "
            f"({given})"
        )
    datatype, shape_of_labels = outputs[model.output]
    if datatype not in INTEGERS:
        raise ServerError(
            f"server.model.output: the model {model.name} gives {model.output} as {datatype} "
            f"{_text(shape_of_labels)}; expected integers, a label for each space point"
        )
    return replace(model, datatype=inputs[model.input][0], batched=len(shape) == 3)


def _tensors(described: Any) -> dict[str, tuple[str, list[int]]]:
    return {
        tensor["name"]: (tensor["datatype"], [int(size) for size in tensor.get("shape", ())])
        for tensor in described
    }


def _text(shape: list[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
