"""What a result is a result of: digests of networks, events and code, carried from step to step.

The name of a file does not say what is in it. So the digest of the weights, and the cut, lie in
each exported network and are compared with the configuration's wherever it is loaded; and every
table of results carries the digests of its inputs, which are compared where tables meet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from exatrkx_service.compiled import kernel_library as find_kernels
from exatrkx_service.options import NETWORKS, is_onnx
from exatrkx_service.paths import finder_files, network_file, replacement, weights_file

# Parts of this package, as ``code_digest`` takes them. What makes the events:
EVENTS_CODE = tuple(
    f"events/{name}"
    for name in (
        *("generate.py", "collisions.py", "vertices.py", "detector.py", "files.py"),
        "digitization.json",
    )
)
# What takes in events from elsewhere:
IMPORT_CODE = tuple(
    f"events/{name}"
    for name in (
        *("formats", "sample.py", "imported.py", "reader.py"),
        *(
            "tables.py",
            "truth.py",
            "units.py",
            "event.py",
            "particles.py",
            "files.py",
            "layouts.py",
        ),
    )
)
# What is compiled:
LIBRARY_CODE = (
    *("compiled.py", "pipeline/kernels", "serving/native.py", "serving/backends"),
    "serving/traces",
)
# What makes an exported network of weights:
EXPORT_CODE = (
    *(
        f"models/{name}"
        for name in (
            *("export.py", "foreign.py", "fused.py", "geometric.py", "networks.py"),
            *("features.py", "network_file.py", "onnx_network.py", "torch_export.py"),
            "weights.py",
        )
    ),
    *("compiled.py", "pipeline/kernels", "pipeline/onnx_operator.py", "pipeline/tensors.py"),
)
# What decides how a stage is run and timed, and what it finds:
CODE = (
    "options.py",
    "environment.py",
    "compiled.py",
    "pipeline",
    "client",
    "serving",
    "measure",
    "tracking",
)
# The same for track finders that are not the pipeline:
FINDER_CODE = (
    *("environment.py", "pipeline/device.py"),
    *("baseline", "events", "finders", "tracking"),
)
# What makes tables, figures and the report:
ANALYSIS_CODE = ("analysis",)

# A file up to this size is known by its content in each process that plans; of a larger one, which
# somebody's network may be, reading would take longer than planning. [bytes]
READ_WHOLE = 2**26

# Keys of a table's attributes (``pandas.DataFrame.attrs``), which its Parquet file keeps.
INPUTS, OUTPUTS, SETTINGS = "inputs", "outputs", "settings"


class IdentityError(ValueError):
    """Results that do not belong together; the message names the file, the key and both values."""


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_state(path: Path | str) -> tuple[int, ...]:
    """What changes when a file is replaced, without reading it: size, place and times.

    A file that was put in the place of another can be older, and as large.

    Raises:
        OSError: there is none.
    """
    state = Path(path).stat()
    return (state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)


def network_states(pipeline: Mapping[str, Any], trained: str) -> dict[str, str | None]:
    """What tells the files of a configuration's networks from others that are put in their place.

    For parameters of rules: by itself Snakemake looks at times alone.

    Args:
        pipeline: the section ``pipeline``.
        trained: the folder of the networks that this workflow trains.

    Returns:
        By stage; see ``READ_WHOLE``. None where there is no file, and for those trained here:
        Snakemake knows when it makes them, and keeps the parameters from before it did.
    """
    states: dict[str, str | None] = {}
    for stage in NETWORKS:
        file = network_file(pipeline, stage)
        if file is None or Path(file) == Path(weights_file(trained, stage)):
            states[stage] = None
            continue
        path = Path(file)
        small = path.stat().st_size <= READ_WHOLE
        states[stage] = file_sha256(path) if small else repr(file_state(path))
    return states


def code_digest(parts: Collection[str]) -> str:
    """SHA-256 of the code that a rule's outputs depend on.

    Args:
        parts: files and folders of this package, relative to it.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for part in parts for path in _files(package / part)):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def checkout_digest(root: Path | str) -> str:
    """SHA-256 of what decides on the results of another checkout: code, settings and networks."""
    digest = hashlib.sha256()
    for folder in ("src/exatrkx_service", "config", "model_repo"):
        for path in sorted(_files(Path(root) / folder)):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def network_identity(
    stage: str,
    weights_sha256: str | None,
    filter_cut: float | None,
    model: Mapping[str, Any] | None = None,
    kernel_library: str = "",
) -> dict[str, str]:
    """What an exported network is, as it stands in its file and in the server's configuration.

    Args:
        stage: ``embedding``, ``filtering`` or ``gnn``.
        weights_sha256: of the file of its weights; None for geometric cuts.
        filter_cut: of the configuration; part of the filter alone.
        model: what takes the place of our network, see ``paths.replacement``.
        kernel_library: see ``with_networks``.
    """
    identity = {"stage": stage}
    if weights_sha256 is not None:
        identity["weights_sha256"] = weights_sha256
    if stage == "filtering":
        identity["filter_cut"] = repr(float(filter_cut))
    if model is not None:
        identity["model"] = json.dumps({k: v for k, v in model.items() if k != "file"})
        if is_onnx(model):
            identity["runtime"] = "onnxruntime"
    elif kernel_library:
        identity["kernels"] = Path(kernel_library).parent.name
    return identity


def with_networks(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """The ``pipeline`` section of the configuration with the identity of each of its networks.

    Returns:
        A copy with the keys ``networks``: per stage its ``network_identity``, from the weights that
        the section names; and ``kernel_library``: the file of the operators that its stages use, as
        text; empty for what torch and faiss have.
    """
    kernels = find_kernels(pipeline.get("kernels", "torch"))
    networks = {}
    for stage in NETWORKS:
        file, cut = network_file(pipeline, stage), pipeline["filter_cut"]
        digest, model = None if file is None else file_sha256(file), replacement(pipeline, stage)
        networks[stage] = network_identity(stage, digest, cut, model, kernels)
    return dict(pipeline) | {"kernel_library": kernels, "networks": networks}


def with_files(method: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``physics.methods`` that is a finder of one's own, with what its files hold.

    Returns:
        A copy with ``files_sha256``, the digest of each of its files by the file's path.
    """
    return dict(method) | {
        "files_sha256": {file: file_sha256(file) for file in finder_files(method)}
    }


def identify(
    manifests: Iterable[Path | str], networks: Mapping[str, Any], models: Path | None = None
) -> dict[str, Any]:
    """The digests of a job's inputs.

    Args:
        manifests: of the events; they hold the settings and the digest of each event's files.
        networks: see ``with_networks``; empty for a job without networks.
        models: the model repository, if the job uses one.

    Returns:
        ``events_sha256`` (of all manifests), ``networks``, and ``models_sha256``: of each file
        of the repository by its path.
    """
    events = hashlib.sha256()
    for path in sorted(map(Path, manifests), key=lambda path: path.name):
        events.update(path.name.encode() + b"\0" + file_sha256(path).encode())
    inputs: dict[str, Any] = {"events_sha256": events.hexdigest()}
    if networks:
        inputs["networks"] = json.loads(json.dumps(networks))
    if models is not None:
        inputs["models_sha256"] = {
            str(path.relative_to(models)): file_sha256(path)
            for path in sorted(_files(models))
            if not path.name.startswith(".")
        }
    return inputs


def attributes_of(table: Path | str) -> dict[str, Any]:
    """The attributes that a Parquet file keeps of its table."""
    from pyarrow.parquet import read_schema

    return json.loads((read_schema(table).metadata or {}).get(b"PANDAS_ATTRS", b"{}"))


def check_same(found: Mapping[str, Any], expected: Mapping[str, Any], file: str, of: str) -> None:
    """Checks that a result is of the same inputs, or settings, as another.

    Args:
        found: what stands in the result, nested.
        expected: what must stand there; other keys do not matter.
        file: the result, for the message.
        of: where the expected values are from.

    Raises:
        IdentityError: names the first key that differs.
    """
    missing = object()
    for key, value in flatten(expected).items():
        other = flatten(found).get(key, missing)
        if other != value:
            shown = "none" if other is missing else str(other)
            raise IdentityError(
                f"{file}: {'.'.join(key)}: {shown[:64]}, but {str(value)[:64]} in {of}: results of "
                "different inputs were put together; delete the file and run again"
            )


def check_outputs(provenance: Iterable[Path | str]) -> None:
    """Checks that the files beside the provenance of jobs are those that the jobs wrote.

    Args:
        provenance: the file of each job, see ``measure.provenance.write``.

    Raises:
        IdentityError: a file is another one, or it is not known which the job wrote.
    """
    again = "delete both and run again"
    for path in map(Path, provenance):
        try:
            outputs = json.loads(path.read_text(encoding="utf-8"))[OUTPUTS]
        except (ValueError, KeyError, TypeError) as error:
            raise IdentityError(
                f"{path}: does not say what its job wrote ({error}); {again}"
            ) from None
        for name, digest in outputs.items():
            file = path.with_name(name)
            if not file.is_file() or file_sha256(file) != digest:
                raise IdentityError(f"{file}: not the file that the job of {path} wrote; {again}")


def flatten(record: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The values of nested mappings, by the keys on the way to them."""
    flat: dict[tuple[str, ...], Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, (*prefix, str(key)))
        else:
            flat[(*prefix, str(key))] = value
    return flat
