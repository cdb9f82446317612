"""What a schema allows, and what is wrong with a value, in words: one line that names the key."""

from __future__ import annotations

import difflib
from typing import Any

from jsonschema.exceptions import ValidationError

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


def explain(error: ValidationError) -> str:
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
        expected = _limits(schema) if rule in _LIMITS else describe(schema)
    if path[:2] == ["server", "headers"]:  # what stands there may be the secret itself
        return (
            f"{_key(path)}: expected {{env: NAME}}, the name of an environment variable; its value "
            "does not belong into a configuration"
        )
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


def describe(rule: dict[str, Any]) -> str:
    """What a rule of the schema allows, in words."""
    if "enum" in rule:
        choices = ", ".join(map(str, rule["enum"]))
        return f"one of {choices}" if len(rule["enum"]) > 1 else choices
    if "pattern" in rule:
        return (
            rule.get("title")
            or "a name of letters, digits, - and _, at most 64, that begins with a letter"
        )
    if "else" in rule:
        return f"{describe(rule['else'])}; or {describe(rule['then'])}"
    kind = rule.get("type", "array" if "items" in rule else "object")
    if _limits(rule):
        return f"{_KINDS[kind]}, {_limits(rule)}"
    if kind == "array":
        extent = "one or more" if rule.get("minItems") else "none or more"
        if rule.get("minItems", 0) == rule.get("maxItems"):
            extent = str(rule["minItems"])
        twice = ", none of them twice" if rule.get("uniqueItems") else ""
        among = f", {rule['contains']['const']} among them" if "contains" in rule else ""
        return f"a list of {extent}, each {describe(rule['items'])}{twice}{among}"
    least = rule.get("minLength", rule.get("minProperties", 0))
    return _KINDS[kind] + (", not empty" if least else "")
