"""Validates the configuration, fills in its defaults, and tabulates its keys."""

from __future__ import annotations

import copy
import difflib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"

_KINDS = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "array": "a list",
    "object": "a mapping of keys to values",
}
_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
# An option's name is the name of a rule too, so it must not be one of these.
TARGETS = {
    *("all", "events", "generate_events", "train", "train_network", "choose_cuts", "model_card"),
    *("plot_training", "export", "export_network", "reference", "measure", "ckf", "find_tracks"),
    *("aggregate", "summarise", "physics", "physics_table", "plots", "report", "write_report"),
}
# The track finders that are always compared, and the folder of the second one's results.
METHODS = ("exatrkx", "CKF", "baseline")
FIGURE_PREFIX = "plot_"  # the rules that draw the figures are made in a loop


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
        A copy with the defaults filled in.

    Raises:
        ConfigError: one line that names the key, what was found and what was expected.
    """
    schema = read_schema(schema_path)
    filled = _with_numbers(config, schema)
    errors = sorted(
        _Validator(schema).iter_errors(filled), key=lambda error: list(map(str, error.path))
    )
    if errors:
        raise ConfigError(f"{source}: {_explain(errors[0])}")
    _fill(filled, schema)
    if filled["events"]["seed"] == filled["train"]["seed"]:
        raise ConfigError(
            f"{source}: train.seed: {filled['train']['seed']} is events.seed too; expected "
            "another, for networks must not be measured on the events they learned from"
        )
    server = filled["server"]
    if server["launcher"] == "external" and "urls" not in server:
        raise ConfigError(
            f"{source}: server.urls: missing key; server.launcher: external needs the server's "
            "addresses, such as urls: {grpc: node01:8001, http: node01:8000}"
        )
    if taken := [n for n in filled["options"] if n in TARGETS or n.startswith(FIGURE_PREFIX)]:
        raise ConfigError(
            f"{source}: options.{min(taken)}: is a target of the workflow; expected another name"
        )
    reserved = {name.lower() for name in METHODS}
    if taken := [n for n in filled["physics"]["methods"] if n.lower() in reserved]:
        raise ConfigError(
            f"{source}: physics.methods.{min(taken)}: {', '.join(METHODS)} are names of the "
            "workflow's own; expected another name"
        )
    return filled


def _with_numbers(value: Any, rule: dict[str, Any]) -> Any:
    """A copy with numbers for their text: ``--config`` gives all below a section as text."""
    if isinstance(value, dict):
        properties, others = rule.get("properties", {}), rule.get("additionalProperties") or {}
        return {
            key: _with_numbers(entry, properties.get(key, others)) for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_with_numbers(entry, rule.get("items", {})) for entry in value]
    if isinstance(value, str) and rule.get("type") in ("integer", "number"):
        try:
            number = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):  # ValueError: it looks like a date, but is none
            return value
        return number if _is_number(None, number) else value
    return copy.deepcopy(value)


def _fill(values: dict[str, Any], schema: dict[str, Any]) -> None:
    """Puts in the defaults of the keys that are missing."""
    for key, rule in schema.get("properties", {}).items():
        if key not in values and "default" in rule:
            values[key] = copy.deepcopy(rule["default"])
        if isinstance(values.get(key), dict):
            _fill(values[key], rule)


def _explain(error: ValidationError) -> str:
    """One line about what is wrong at which key."""
    path, rule, schema = list(error.absolute_path), error.validator, error.schema
    if rule == "additionalProperties":
        known = list(schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        hint = _near(unknown, known) or f"expected one of {', '.join(known)}"
        return f"{_key([*path, unknown])}: unknown key; {hint}"
    if rule == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{_key([*path, missing])}: missing key"
    if "enum" in schema:
        choices = list(map(str, schema["enum"]))
        also = ", or a list of stages" if path[-1:] == ["serve"] else ""
        near = _near(error.instance, choices)
        expected = f"one of {', '.join(choices)}{also}" + (f"; {near}" if near else "")
    else:
        expected = _limits(schema) if rule in _LIMITS else _describe(schema)
    found = repr(error.instance)
    found = found if len(found) <= 60 else f"{found[:57]}..."
    return f"{_key(path)}: found {found}, expected {expected}"


def _key(path: list[Any]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "configuration"


def _near(word: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean {near[0]}?" if near else ""


def _limits(rule: dict[str, Any]) -> str:
    return " and ".join(f"{text} {rule[name]}" for name, text in _LIMITS.items() if name in rule)


def _describe(rule: dict[str, Any]) -> str:
    """What a rule of the schema allows, in words."""
    if "enum" in rule:
        choices = ", ".join(map(str, rule["enum"]))
        return f"one of {choices}" if len(rule["enum"]) > 1 else choices
    if "pattern" in rule:
        return "a name of letters, digits, - and _ that begins with a letter"
    kind = rule.get("type", "array" if "items" in rule else "object")
    if _limits(rule):
        return f"{_KINDS[kind]}, {_limits(rule)}"
    if kind == "array":
        extent = "one or more" if rule.get("minItems") else "none or more"
        twice = ", none of them twice" if rule.get("uniqueItems") else ""
        return f"a list of {extent}, each {_describe(rule['items'])}{twice}"
    least = rule.get("minLength", rule.get("minProperties", 0))
    return _KINDS[kind] + (", not empty" if least else "")


def reference_table(schema_path: Path = SCHEMA) -> str:
    """The table of all keys for ``config/README.md``, in Markdown, from the schema."""
    lines = ["| key | meaning | unit | default | allowed |", "|---|---|---|---|---|"]
    for key, rule in keys(read_schema(schema_path)):
        default = rule.get("default")
        shown = "" if default in (None, {}) else f"`{default}`"
        allowed = "" if rule.get("properties") else _describe(rule)
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
