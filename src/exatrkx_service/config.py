"""Validates the configuration, fills in its defaults, and tabulates its keys."""

from __future__ import annotations

import copy
import functools
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from exatrkx_service.config_words import describe, explain
from exatrkx_service.options import STAGES, batches, is_onnx, natural_key
from exatrkx_service.server_settings import problem_of_onnx, problem_of_server

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"

_NOTHING = (None, "null", "~")  # ``--config`` gives all below a section as text
# As YAML 1.2 has them (its core schema), which unlike 1.1 takes 1e-3 for a number.
_NUMBER = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)
# An option's name is the name of a rule too, so it must not be one of these.
TARGETS = {
    *("all", "events", "generate_events", "train", "train_network", "choose_cuts", "model_card"),
    *(
        "plot_training",
        "export",
        "compile_libraries",
        "speed",
        "export_network",
        "export_repository",
        "reference",
        "import_events",
        "import_training",
        "describe_sample",
        "measure",
        "measure_capacity",
        "capacity",
        "capacity_table",
        "plot_latency_vs_rate",
        "agreement",
        "measure_agreement",
        "ckf",
        "find_tracks",
        "run_finder",
    ),
    *(
        "aggregate",
        "serve",
        "summarise",
        "physics",
        "physics_table",
        "plot_figures",
        "plot_physics",
        "plots",
        "report",
        "write_report",
        "compare",
        "coverage",
        "measure_coverage",
        "study_batch",
        "study_ensemble",
        "summarise_batch",
        "summarise_study",
    ),
}
# The track finders that are always compared, and the folder of the second one's results.
METHODS = ("exatrkx", "CKF", "baseline")
# The second one, as an entry of ``physics.methods``.
CKF = {"command": ["python", "-m", "exatrkx_service.baseline"]}
# Of an entry of ``physics.methods``: how a finder of one's own is called, one of these, and what
# may stand beside it. All other keys are those of the pipeline.
FREE = "settings of your own"  # the schema's title of a mapping with any keys
FINDER_KINDS, FINDER_KEYS = ("finder", "command"), ("settings", "files")


class ConfigError(ValueError):
    """A configuration that the workflow can't run; the message names the key."""


def _is_integer(_checker: object, value: object) -> bool:
    # JSON takes 25.0 for an integer, but range() does not; YAML's `yes` is no 1.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_checker: object, value: object) -> bool:
    # A comparison with NaN is false, so NaN would pass any bound.
    return _is_integer(_checker, value) or (isinstance(value, float) and math.isfinite(value))


_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


@functools.cache
def read_schema(schema_path: Path = SCHEMA) -> dict[str, Any]:
    """Reads the JSON schema of the configuration."""
    return yaml.safe_load(schema_path.read_text(encoding="utf-8"))


def load_config(config: dict[str, Any], source: str, schema_path: Path = SCHEMA) -> dict[str, Any]:
    """Checks a configuration against the schema.

    Args:
        config: as read from YAML or from the command line; left as it is.
        source: what to call it in an error, such as its file.
        schema_path: the JSON schema.

    Returns:
        A copy with the defaults filled in, in the order and the types of the schema: equal
        configurations are equal as text, too, and Snakemake takes them for equal.

    Raises:
        ConfigError: one line that names the key, what was found and what was expected.
    """
    schema = read_schema(schema_path)
    filled = _normalised(config, schema)
    errors = sorted(
        _Validator(schema).iter_errors(filled), key=lambda error: list(map(str, error.path))
    )
    if errors:
        raise ConfigError(f"{source}: {explain(errors[0])}")
    _fill(filled, schema)
    # Once more, for the order of the keys with those that were filled in.
    filled = _normalised(filled, schema)
    generated = [filled[name]["source"] == "generate" for name in ("events", "train")]
    if all(generated) and filled["events"]["seed"] == filled["train"]["seed"]:
        raise ConfigError(
            f"{source}: train.seed: {filled['train']['seed']} is events.seed too; expected "
            "another, for networks must not be measured on the events they learned from"
        )
    for name, is_generated in zip(("events", "train"), generated, strict=True):
        if is_generated == ("path" in filled[name]):
            expected = (
                f"expected none, or another {name}.source than generate"
                if is_generated
                else f"missing key; {name}.source: {filled[name]['source']} needs the folder of "
                "the events"
            )
            raise ConfigError(f"{source}: {name}.path: {expected}")
    pipelines = {"pipeline": filled["pipeline"]}
    pipelines |= {f"physics.methods.{n}": m for n, m in filled["physics"]["methods"].items()}
    models = {
        f"{key}.models.{stage}": model
        for key, pipeline in pipelines.items()
        for stage, model in pipeline.get("models", {}).items()
    }
    if "model" in filled["server"]:
        models["server.model"] = filled["server"]["model"]
    for key, model in models.items():
        n_features, n_scales = len(model["features"]), len(model["scales"])
        if n_features != n_scales:
            raise ConfigError(
                f"{source}: {key}.scales: found {n_scales}, expected as many as there are "
                f"features ({n_features})"
            )
    for key, pipeline in pipelines.items():
        merged = filled["pipeline"] | pipeline
        both = merged.get("models", {}).keys() & merged.get("geometric", {}).keys()
        if both:
            raise ConfigError(
                f"{source}: {key}.geometric.{min(both)}: models.{min(both)} is there as well; "
                "expected one of them"
            )
    if problem := problem_of_clients(filled, "measure"):
        raise ConfigError(f"{source}: {problem}")
    load = filled["load"]
    if load["seconds"] > load["max_seconds"]:
        raise ConfigError(
            f"{source}: load.seconds: found {load['seconds']}, expected at most load.max_seconds "
            f"({load['max_seconds']})"
        )
    server = filled["server"]
    if problem := problem_of_server(server, filled["options"], filled["events"]["source"]):
        raise ConfigError(f"{source}: {problem}")
    if server["launcher"] != "embedded" and "model" not in server:
        # Another's torch need not know our operators; that of a container does not.
        if filled["pipeline"]["kernels"] == "compiled" and server["launcher"] != "external":
            raise ConfigError(
                f"{source}: pipeline.kernels: compiled: the torch of server.launcher: "
                f"{server['launcher']} does not know our operators; expected auto or torch"
            )
        if filled["pipeline"]["kernels"] == "auto":
            filled["pipeline"]["kernels"] = "torch"
    in_onnx = [s for s, model in filled["pipeline"].get("models", {}).items() if is_onnx(model)]
    if in_onnx:
        options = {"options": filled["options"]}
        options["study_ensemble.options"] = filled["study_ensemble"]["options"]
        if problem := problem_of_onnx(server, options, f"pipeline.models.{in_onnx[0]}.file"):
            raise ConfigError(f"{source}: {problem}")
        server["backend"] = "python"
    study = filled["study_ensemble"]["options"]
    for key, options in {"options": filled["options"], "study_ensemble.options": study}.items():
        if taken := [name for name in options if name in TARGETS]:
            raise ConfigError(
                f"{source}: {key}.{min(taken)}: is a target of the workflow; expected another name"
            )
    of_batches = batches(filled["options"], filled["options"], filled["study_batch"]["batch"])
    if both := of_batches.keys() & (filled["options"].keys() | study.keys()):
        raise ConfigError(
            f"{source}: options.{min(both)}: `study_batch` names its own so; expected another name"
        )
    if both := study.keys() & filled["options"].keys():
        raise ConfigError(
            f"{source}: study_ensemble.options.{min(both)}: options.{min(both)} is there as well; "
            "expected another name"
        )
    reserved = {name.lower() for name in METHODS}
    if taken := [n for n in filled["physics"]["methods"] if n.lower() in reserved]:
        raise ConfigError(
            f"{source}: physics.methods.{min(taken)}: {', '.join(METHODS)} are names of the "
            "workflow's own; expected another name"
        )
    for name, method in filled["physics"]["methods"].items():
        _check_kind(f"{source}: physics.methods.{name}", method)
    return filled


def problem_of_clients(config: Mapping[str, Any], key: str) -> str:
    """Whether there are more clients than samples for them, with the key; empty if not.

    Args:
        config: the configuration.
        key: ``measure``, or the section of a study.
    """
    passes = max(config["measure"]["repetitions"], config["measure"]["min_blocks"])
    together = max(config[key].get("batch", [1]))
    n_samples = passes * math.ceil(config["events"]["n_events"] / together)
    most = max(config[key]["concurrency"])
    if most <= n_samples:
        return ""
    batch = f", in requests of {together}" if together > 1 else ""
    return (
        f"{key}.concurrency: {most} clients, but there are {n_samples} samples (events.n_events × "
        f"the larger of measure.repetitions and measure.min_blocks{batch}); expected at least one "
        "for each client"
    )


def finder_kind(method: Mapping[str, Any]) -> str | None:
    """``finder`` or ``command``; None for an entry of ``physics.methods`` that is the pipeline."""
    return next((kind for kind in FINDER_KINDS if kind in method), None)


def _check_kind(key: str, method: Mapping[str, Any]) -> None:
    """Raises ``ConfigError`` for an entry of ``physics.methods`` that is two things at once."""
    kinds = " or ".join(FINDER_KINDS)
    if all(kind in method for kind in FINDER_KINDS):
        raise ConfigError(f"{key}: found {' and '.join(FINDER_KINDS)}, expected one of them")
    beside = [name for name in method if name not in FINDER_KINDS]
    if finder_kind(method):
        if wrong := [name for name in beside if name not in FINDER_KEYS]:
            raise ConfigError(
                f"{key}.{wrong[0]}: a key of the pipeline beside {finder_kind(method)}; expected "
                f"{' and '.join(FINDER_KEYS)} alone"
            )
    elif wrong := [name for name in beside if name in FINDER_KEYS]:
        raise ConfigError(f"{key}.{wrong[0]}: found without {kinds}, expected one of them beside")


def _normalised(value: Any, rule: dict[str, Any]) -> Any:
    """A copy in the order and the types of the schema.

    Numbers may come as text: ``--config`` gives all below a section as text, and YAML 1.1 reads
    ``1e-3`` as text. A number without a fraction is an integer, 15.0 too. Keys are in the order of
    the schema, names of the user's own in natural order, stages in the order of the pipeline. A
    name without a value, such as ``options: {S1: null}``, is taken out.
    """
    if rule.get("title") == FREE:
        return _free(value)
    if "if" in rule:
        kind = {"array": list, "object": dict}[rule["if"]["type"]]
        rule = rule | rule["then" if isinstance(value, kind) else "else"]
    if isinstance(value, dict):
        properties, others = rule.get("properties", {}), rule.get("additionalProperties") or {}
        if others:
            value = {key: entry for key, entry in value.items() if entry not in _NOTHING}
            names = sorted(value, key=lambda key: natural_key(str(key)))
        else:
            # A section that has no default is there or not; null takes it out.
            value = {
                key: entry
                for key, entry in value.items()
                if entry is not None or not _is_optional(properties.get(key, {}))
            }
            names = [key for key in properties if key in value]
            names += [key for key in value if key not in properties]
        return {key: _normalised(value[key], properties.get(key, others)) for key in names}
    if isinstance(value, list):
        items = [_normalised(entry, rule.get("items", {})) for entry in value]
        if "then" in rule and all(item in STAGES for item in items):  # options.*.serve
            items.sort(key=STAGES.index)
        return items
    if rule.get("type") in ("integer", "number"):
        return _number(value)
    if rule.get("format") == "path" and isinstance(value, str) and value:
        return os.path.normpath(value)
    return copy.deepcopy(value)


def _free(value: Any) -> Any:
    """A copy of what a user may choose freely, as JSON has it; text that is a number is one."""
    if isinstance(value, dict):
        return {key: _free(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list):
        return [_free(entry) for entry in value]
    if isinstance(value, (str, bool, float, int, NoneType)) and value == value:  # NaN is not
        return _number(value)
    return str(value)


def _is_optional(rule: dict[str, Any]) -> bool:
    return rule.get("type") == "object" and "default" not in rule


def _number(value: Any) -> Any:
    """The number that a number, or its text, stands for; what is none is left as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value) if set(value) & set(".eE") else int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _fill(values: dict[str, Any], schema: dict[str, Any]) -> None:
    """Puts in the defaults of the keys that are missing."""
    for key, rule in schema.get("properties", {}).items():
        if key not in values and "default" in rule:
            values[key] = copy.deepcopy(rule["default"])
        if isinstance(values.get(key), dict):
            _fill(values[key], rule)
    # Of entries with names of the user's own the keys have no defaults, but the sections in them.
    others = schema.get("additionalProperties") or {}
    for key in values.keys() - schema.get("properties", {}).keys():
        for name, rule in others.get("properties", {}).items():
            if isinstance(values[key].get(name), dict):
                _fill(values[key][name], rule)


def reference_table(schema_path: Path = SCHEMA) -> str:
    """The table of all keys for ``config/README.md``, in Markdown, from the schema."""
    lines = ["| key | meaning | unit | default | allowed |", "|---|---|---|---|---|"]
    for key, rule in keys(read_schema(schema_path)):
        default = rule.get("default")
        shown = "" if default in (None, {}) else f"`{default}`"
        allowed = "" if rule.get("properties") else describe(rule)
        cells = [f"`{key}`", rule["description"].strip(), rule.get("unit", ""), shown, allowed]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def keys(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each key of the schema, dotted, with its rule; a section comes before its keys."""
    for key, rule in schema.get("properties", {}).items():
        yield prefix + key, rule
        yield from keys(rule, f"{prefix}{key}.")


if __name__ == "__main__":
    print(reference_table(), end="")
