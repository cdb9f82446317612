"""Values of a configuration: as they are read, and those that are filled in."""

import copy

import pytest
import yaml
from configs import get, message, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snakemake.utils import update_config

from exatrkx_service.config import load_config
from exatrkx_service.options import STAGES

OVERLAYS = (
    "smoke",
    "physics",
    "presets",
    "tiny",
    "reference",
    "ttbar",
    "v100",
    "perlmutter",
    "gpu",
)


def test_the_default_is_valid_and_complete(config):
    assert load_config(config, "config.yaml") == config


def test_all_but_the_options_has_a_default(config):
    filled = load_config({"options": config["options"]}, "short")
    assert filled == config


def test_the_given_configuration_is_left_alone(config):
    given_config = {"options": config["options"], "events": {"n_events": 30}}
    before = copy.deepcopy(given_config)
    filled = load_config(given_config, "short")
    assert given_config == before
    assert filled["events"]["n_events"] == 30
    filled["measure"]["concurrency"].append(16)
    assert load_config(given_config, "short")["measure"]["concurrency"] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    "key, text, number",
    [
        ("events.n_events", "5", 5),
        ("events.hnl.mass_gev", "20.5", 20.5),
        ("events.pileup", "40", 40),
        ("train.epochs.gnn", "3", 3),
        ("measure.concurrency", ["1", "2"], [1, 2]),
        ("physics.methods.wide.radius", "2.0", 2.0),
    ],
)
def test_text_of_a_number_is_that_number(config, key, text, number):
    given_config = put(config, key, text)
    loaded = load_config(given_config, "command line")
    assert loaded == put(config, key, number)
    assert get(given_config, key) == text


@pytest.mark.parametrize(
    "key, text, number",
    [
        ("pipeline.filter_cut", "1e-3", 0.001),  # YAML 1.1 reads it as text
        ("pipeline.filter_cut", "1.5E-3", 0.0015),
        ("events.n_events", "1e3", 1000),
        ("events.n_events", 25.0, 25),
        ("events.hnl.mass_gev", 15.0, 15),
        ("events.pileup", ".5", 0.5),
    ],
)
def test_a_number_is_read_however_it_is_written(config, key, text, number):
    loaded = get(load_config(put(config, key, text), "command line"), key)
    assert (loaded, type(loaded)) == (number, type(number))


def shuffled(value, random):
    """The same configuration, written in another way."""
    if isinstance(value, dict):
        keys_ = list(value)
        random.shuffle(keys_)
        return {key: shuffled(value[key], random) for key in keys_}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return random.choice([value, float(value), repr(value), f"{value:e}"])
    return value


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(random=st.randoms(use_true_random=False))
def test_equal_configurations_are_equal_as_text(config, random):
    given_config = put(config, "options.S10", {"serve": ["gnn", "embedding"]})
    other = put(config, "options.S10", {"serve": ["embedding", "gnn"]})
    other["results"] = "./results/"
    # Snakemake compares the parameters of a rule as text.
    assert repr(load_config(shuffled(other, random), "a")) == repr(load_config(given_config, "b"))


def test_null_takes_out_what_has_a_name_of_the_users_own(config):
    for nothing in (None, "null", "~"):
        loaded = load_config(put(config, "options.S1", nothing), "mine")
        assert list(loaded["options"]) == ["S0", "S2", "S3", "S4", "S5"]
    none = load_config(put(config, "physics.methods.walkthrough", None), "mine")
    assert none["physics"]["methods"] == {}
    assert "ports" not in load_config(put(config, "server.ports", None), "mine")["server"]
    assert message(put(config, "options", {"S1": None})) == (
        "options: found {}, expected a mapping of keys to values, not empty"
    )
    assert message(put(config, "measure.rounds", None)).startswith("measure.rounds: found None")


def test_text_stays_text(config):
    loaded = load_config(put(config, "results", "2026"), "command line")
    assert loaded["results"] == "2026"


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_are_valid_over_the_default(root, config, name):
    overlay = yaml.safe_load((root / "config" / f"{name}.yaml").read_text())
    merged = copy.deepcopy(config)
    update_config(merged, overlay)
    loaded = load_config(merged, name)
    assert loaded["options"] == config["options"]
    assert loaded["results"] == f"results/{name}"
    clients = {"smoke": [1, 2], "ttbar": [1, 2], "gpu": [1, 4]}.get(name, [1, 2, 4, 8])
    assert loaded["measure"]["concurrency"] == clients
    assert (loaded["pipeline"]["device"] == "cuda") == (name in ("v100", "perlmutter", "gpu"))
    trains = name in ("tiny", "reference")
    assert (loaded["pipeline"]["weights"] == f"results/{name}/models") == trains


def test_every_overlay_is_tested_and_described(root):
    files = {path.stem for path in (root / "config").glob("*.yaml")} - {"config"}
    assert files == set(OVERLAYS)
    readme = (root / "config" / "README.md").read_text()
    assert all(f"`{name}.yaml`" in readme for name in files)


def test_an_overlay_adds_an_option(config):
    merged = copy.deepcopy(config)
    update_config(merged, {"options": {"S6": {"serve": ["gnn"]}}})
    assert list(load_config(merged, "more")["options"]) == [*config["options"], "S6"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(STAGES), unique=True) | st.sampled_from(["ensemble", "fused"]))
def test_any_placement_is_valid(serve):
    loaded = load_config({"options": {"mine": {"serve": serve}}}, "short")["options"]["mine"]
    in_order = serve if isinstance(serve, str) else [s for s in STAGES if s in serve]
    assert loaded == {"serve": in_order}


def test_settings_of_a_finder_are_free(config):
    settings = {"b": "1e-3", "a": ["2", None, {"y": "text", "x": True}], "c": float("nan")}
    changed = put(config, "physics.methods.mine", {"finder": "a.b:c", "settings": settings})
    loaded = load_config(changed, "mine")["physics"]["methods"]["mine"]["settings"]
    assert loaded == {"a": [2, None, {"x": True, "y": "text"}], "b": 1e-3, "c": "nan"}
    assert list(loaded) == ["a", "b", "c"]


def test_networks_of_others_get_their_defaults(config):
    model = {"file": "./theirs.pt"}
    config["pipeline"]["models"] = {"gnn": model}
    config["physics"]["methods"] = {"new": {"models": {"filtering": model | {"output": "score"}}}}
    loaded = load_config(config, "mine")
    scales = [1000, 3.141592653589793, 1000]
    filled = {"file": "theirs.pt", "features": ["r", "phi", "z"], "scales": scales}
    assert loaded["pipeline"]["models"] == {"gnn": filled | {"output": "logit"}}
    method = {"models": {"filtering": filled | {"output": "score"}}}
    assert loaded["physics"]["methods"] == {"new": method}
    config["pipeline"]["models"]["gnn"] = model | {"features": ["r"]}
    assert message(config) == (
        "pipeline.models.gnn.scales: found 3, expected as many as there are features (1)"
    )


def test_seeds_differ_where_both_samples_are_generated(config):
    config["train"] |= {"seed": 20231, "source": "acts", "path": "mine"}
    assert load_config(config, "mine")["train"]["seed"] == 20231


def test_a_rate_lasts_no_longer_than_it_may(config):
    assert message(put(config, "load.seconds", 61)) == (
        "load.seconds: found 61, expected at most load.max_seconds (60)"
    )
    assert load_config(put(config, "load.seconds", 60), "mine")["load"]["rates"] == []
    assert message(put(config, "load.rates", [0])).startswith("load.rates[0]: found 0, expected ")


def test_geometric_cuts_have_defaults_and_take_the_place_of_one_network_each(config):
    config["pipeline"]["geometric"] = {"embedding": {"phi": 0.3}}
    config["physics"]["methods"] = {"new": {"geometric": {"filtering": {}}}}
    loaded = load_config(config, "mine")
    geometric = {"embedding": {"phi": 0.3, "eta": 0.7, "log_distance": 1.2}}
    assert loaded["pipeline"]["geometric"] == geometric
    cuts = {"phi_slope_max": 0.01, "z0_max": 1000}
    assert loaded["physics"]["methods"]["new"] == {"geometric": {"filtering": cuts}}
    config["pipeline"]["models"] = {"filtering": {"file": "theirs.pt"}}
    assert message(config) == (
        "physics.methods.new.geometric.filtering: models.filtering is there as well; expected one "
        "of them"
    )
    config["pipeline"]["geometric"]["gnn"] = {}
    assert message(config).startswith("pipeline.geometric.gnn: unknown key; expected one of emb")
