"""The schema of the configuration, and what must agree with it."""

import re

import pytest
from configs import LEAVES, RULES, SCHEMA, get

from exatrkx_service.config import FINDER_KEYS, FINDER_KINDS, TARGETS, reference_table
from exatrkx_service.options import STAGES
from exatrkx_service.pipeline.labeling import CUT_KEYS

# Sections that the default does not have.
OPTIONAL = ("pipeline.models.", "pipeline.geometric.", "server.model.")


def test_the_schema_and_the_default_have_the_same_values(config):
    for key in LEAVES:
        if "default" in RULES[key] and not key.startswith(OPTIONAL):
            assert get(config, key) == RULES[key]["default"], key


def test_the_schema_knows_the_stages():
    serve = SCHEMA["properties"]["options"]["additionalProperties"]["properties"]["serve"]
    assert tuple(serve["then"]["items"]["enum"]) == STAGES


def test_the_schema_knows_the_labelings_and_their_cuts():
    assert RULES["pipeline.labeling"]["enum"] == list(CUT_KEYS)
    assert all(f"pipeline.{key}" in RULES for key in CUT_KEYS.values())


def test_a_method_has_keys_of_the_pipeline_with_their_bounds():
    rules = RULES["physics.methods"]["additionalProperties"]
    assert rules["additionalProperties"] is False
    pipeline = SCHEMA["properties"]["pipeline"]["properties"]
    # How the pipeline is run is the same for all, for the times are compared.
    assert rules["properties"].keys() - pipeline.keys() == {*FINDER_KINDS, *FINDER_KEYS}
    shared = pipeline.keys() - {"device", "kernels", "threads"}
    assert {key: rules["properties"][key] for key in shared} == {
        key: pipeline[key] for key in shared
    }


def test_every_mapping_is_closed_and_every_key_described():
    assert SCHEMA["additionalProperties"] is False
    for key, rule in RULES.items():
        assert rule["description"].strip().endswith("."), key
        assert "|" not in rule["description"], key
        if "properties" in rule:
            assert rule["additionalProperties"] is False, key


@pytest.mark.parametrize("suffix, unit", [("_gev", "GeV"), ("_mm", "mm"), ("_s", "s")])
def test_the_unit_is_that_of_the_name(suffix, unit):
    named = [key for key in LEAVES if key.endswith(suffix)]
    assert named
    assert {RULES[key].get("unit") for key in named} == {unit}


def test_the_readme_has_the_table_of_the_schema(root):
    assert reference_table() in (root / "config" / "README.md").read_text()


RULE = re.compile(r"^(?:use rule \w+ as|rule) (\w+)(?: with)?:", re.MULTILINE)


def test_no_rule_can_be_the_name_of_an_option(root):
    files = [root / "Snakefile", *(root / "workflow" / "rules").glob("*.smk")]
    rules = {name for file in files for name in RULE.findall(file.read_text())}
    assert rules == TARGETS
