"""Validates the configuration and fills in its defaults."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"


class ConfigError(ValueError):
    """A configuration that the workflow can't run; the message names the key."""


def load_config(config: dict[str, Any], source: str, schema_path: Path = SCHEMA) -> dict[str, Any]:
    """Checks a configuration against the schema.

    Args:
        config: as read from YAML; left as it is.
        source: what to call it in an error, such as its file.
        schema_path: the JSON schema.

    Returns:
        A copy with the defaults filled in.

    Raises:
        ConfigError: one line that names the key, what was found and what was expected.
    """
    schema = yaml.safe_load(schema_path.read_text())
    errors = sorted(
        Draft202012Validator(schema).iter_errors(config),
        key=lambda error: list(map(str, error.path)),
    )
    if errors:
        raise ConfigError(f"{source}: {_explain(errors[0])}")
    filled = copy.deepcopy(config)
    _fill(filled, schema)
    _check_together(filled, source)
    return filled


def _fill(values: dict[str, Any], schema: dict[str, Any]) -> None:
    """Puts in the defaults of the keys that are missing."""
    for key, rule in schema.get("properties", {}).items():
        if key not in values and "default" in rule:
            values[key] = copy.deepcopy(rule["default"])
        if isinstance(values.get(key), dict):
            _fill(values[key], rule)


def _check_together(config: dict[str, Any], source: str) -> None:
    """Checks what needs more than one key."""
    if config["events"]["seed"] == config["train"]["seed"]:
        raise ConfigError(
            f"{source}: train.seed: {config['train']['seed']} is events.seed too; expected "
            "another, for the networks must not be trained on the events that they are measured on"
        )
    if "options" not in config:
        raise ConfigError(f"{source}: options: missing; expected at least one service option")


def _key(path: Iterator[Any] | list[Any]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "configuration"


def _explain(error: ValidationError) -> str:
    """One line about what is wrong at which key."""
    path, rule = list(error.absolute_path), error.validator
    if rule == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        near = difflib.get_close_matches(str(unknown), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; expected one of {', '.join(known)}"
        return f"{_key([*path, unknown])}: unknown key{hint}"
    if rule == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{_key([*path, missing])}: missing"
    expected = {
        "type": lambda value: f"expected {value}",
        "enum": lambda value: f"expected one of {', '.join(map(str, value))}",
        "minimum": lambda value: f"expected at least {value}",
        "maximum": lambda value: f"expected at most {value}",
        "exclusiveMinimum": lambda value: f"expected more than {value}",
        "exclusiveMaximum": lambda value: f"expected less than {value}",
        "minItems": lambda value: f"expected at least {value} entry",
        "minProperties": lambda value: f"expected at least {value} entry",
        "minLength": lambda value: "expected some text",
        "uniqueItems": lambda value: "expected no entry twice",
        "pattern": lambda value: f"expected a name that matches {value}",
    }.get(str(rule), lambda value: error.message)
    serve = path[-1:] == ["serve"] and rule == "enum"
    hint = " or a list of stages" if serve else ""
    return f"{_key(path)}: found {error.instance!r}, {expected(error.validator_value)}{hint}"


def reference_table(schema_path: Path = SCHEMA) -> str:
    """The table of all keys for ``config/README.md``, in Markdown, from the schema."""
    schema = yaml.safe_load(schema_path.read_text())
    lines = ["| key | meaning | unit | default | bounds |", "|---|---|---|---|---|"]
    for key, rule in _keys(schema, ""):
        default = rule.get("default", "")
        default = "" if default == {} else f"`{default}`" if default != "" else ""
        meaning = " ".join(rule.get("description", "").split())
        lines.append(
            f"| `{key}` | {meaning} | {rule.get('unit', '')} | {default} | {_bounds(rule)} |"
        )
    return "\n".join(lines) + "\n"


def _keys(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, rule in schema.get("properties", {}).items():
        yield prefix + key, rule
        yield from _keys(rule, f"{prefix}{key}.")


def _bounds(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if rule.get("type") == "array":
        return f"list; each {_bounds(rule['items'])}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {rule[name]}" for name, sign in signs.items() if name in rule]
    kind = {"integer": "integer", "number": "number", "string": "text"}.get(
        rule.get("type", ""), ""
    )
    return " ".join(filter(None, [kind, ", ".join(found)]))
