import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.config import SCHEMA, ConfigError, load_config, reference_table
from exatrkx_service.options import STAGES, Option


def changed(config, key, value):
    config = copy.deepcopy(config)
    *path, last = key.split(".")
    section = config
    for step in path:
        section = section[step]
    section[last] = value
    return config


def test_the_default_configuration_is_valid_and_complete(config):
    assert load_config(config, "config.yaml") == config, "a key that has a default is not in it"


def test_defaults_are_filled_in_and_are_those_of_the_file(config):
    filled = load_config({"options": config["options"]}, "empty")
    assert filled == config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("measure.concurrency", [0], r"measure.concurrency\[0\]: found 0, expected at least 1"),
        ("measure.concurrency", [1, 1], "measure.concurrency: .* expected no entry twice"),
        ("measure.concurrency", [], r"measure.concurrency: found \[\], expected at least 1 entry"),
        ("measure.concurrency", ["1"], r"measure.concurrency\[0\]: found '1', expected integer"),
        ("measure.round", 2, "measure.round: unknown key; did you mean rounds"),
        ("options.S6", {"serve": ["gnnn"]}, r"options.S6.serve\[0\]: found 'gnnn', .*labeling"),
        ("options.S6", {"serve": "all"}, "serve: found 'all', .* ensemble, fused or a list"),
        ("options.S6", {}, "options.S6.serve: missing"),
        ("options.6", {"serve": []}, "options: found '6', expected a name"),
        ("options.plots", {"serve": []}, "options.plots: is a target of the workflow"),
        ("events.hnl.mass_gev", 90, "events.hnl.mass_gev: found 90, expected at most 80"),
        ("events.seed", 77001, "train.seed: 77001 is events.seed too"),
        ("pipeline.filter_cut", "loose", "pipeline.filter_cut: found 'loose', expected number"),
        ("server", None, "server: found None, expected object"),
    ],
)
def test_an_error_is_one_line_that_names_the_key(config, key, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(changed(config, key, value), "config.yaml")
    assert "\n" not in str(caught.value)


def test_overlays_are_valid(root, config):
    for path in (root / "config").glob("*.yaml"):
        overlay = yaml.safe_load(path.read_text())
        merged = {
            key: config[key] | overlay.get(key, {})
            if isinstance(config[key], dict)
            else overlay.get(key, config[key])
            for key in config
        }
        assert overlay.keys() <= config.keys()
        load_config(merged, path.name)


def test_the_readme_lists_the_keys_of_the_schema(root):
    assert reference_table() in (root / "config" / "README.md").read_text()


def test_every_key_is_described():
    def check(schema, name):
        for key, rule in schema.get("properties", {}).items():
            assert rule.get("description"), f"{name}.{key}"
            check(rule, f"{name}.{key}")

    check(yaml.safe_load(SCHEMA.read_text()), "")


@given(st.lists(st.sampled_from(STAGES), unique=True))
def test_any_set_of_stages_is_an_option(serve):
    option = Option.from_config("X", {"serve": serve})
    assert set(option.served) == set(serve) == set(option.models)
    assert list(option.served) == sorted(serve, key=STAGES.index)
    assert option.needs_server == bool(serve)


def test_ensemble_and_fused():
    ensemble = Option.from_config("S4", {"serve": "ensemble"})
    assert ensemble.models == (*STAGES, "exatrkx") and ensemble.served == STAGES
    assert Option.from_config("S5", {"serve": "fused"}).models == ("pipeline",)


@pytest.mark.parametrize("serve", ["gnn", ["gnnn"]])
def test_an_unknown_placement_is_named(serve):
    with pytest.raises(ValueError, match=r"options\.X\.serve: .*expected a list of embedding"):
        Option.from_config("X", {"serve": serve})
