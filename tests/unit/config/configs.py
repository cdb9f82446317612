"""Configurations to try, for the tests beside this."""

import copy

import pytest

from exatrkx_service.config import ConfigError, keys, load_config, read_schema

SCHEMA = read_schema()
RULES = dict(keys(SCHEMA))
# Mappings whose keys are names of the user's own.
NAMED = ("options", "physics.methods", "server.headers", "study_ensemble.options")
LEAVES = [key for key, rule in RULES.items() if "properties" not in rule and key not in NAMED]
EXTERNAL = {"launcher": "external", "urls": {"grpc": "node:1", "http": "node:2"}}


def put(config: dict, key: str, value) -> dict:
    """A copy with one dotted key changed."""
    changed = copy.deepcopy(config)
    *sections, last = key.split(".")
    section = changed
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    return changed


def get(config: dict, key: str):
    for name in key.split("."):
        config = config[name]
    return config


def message(config: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(config, "mine.yaml")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("mine.yaml: ")
    return text.removeprefix("mine.yaml: ")
