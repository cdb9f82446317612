import copy
import math
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snakemake.utils import update_config

from exatrkx_service.config import (
    FINDER_KEYS,
    FINDER_KINDS,
    TARGETS,
    ConfigError,
    keys,
    load_config,
    problem_of_clients,
    read_schema,
    reference_table,
)
from exatrkx_service.options import STAGES
from exatrkx_service.pipeline.labeling import CUT_KEYS
from exatrkx_service.server_settings import problem_of_options

SCHEMA = read_schema()
RULES = dict(keys(SCHEMA))
# Mappings whose keys are names of the user's own.
NAMED = ("options", "physics.methods", "server.headers", "study_ensemble.options")
LEAVES = [key for key, rule in RULES.items() if "properties" not in rule and key not in NAMED]
# Sections that the default does not have.
OPTIONAL = ("pipeline.models.", "pipeline.geometric.", "server.model.")
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


def test_the_default_is_valid_and_complete(config):
    assert load_config(config, "config.yaml") == config


def test_the_schema_and_the_default_have_the_same_values(config):
    for key in LEAVES:
        if "default" in RULES[key] and not key.startswith(OPTIONAL):
            assert get(config, key) == RULES[key]["default"], key


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


@pytest.mark.parametrize("text", ["1_000", "0x10", "nan", "inf", "1e", "١", "", "1 2", "true"])
def test_other_text_is_no_number(config, text):
    assert message(put(config, "events.n_events", text)).startswith("events.n_events: found ")


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


def test_more_clients_than_samples_are_refused(config):
    few = put(put(config, "events.n_events", 5), "measure.min_blocks", 2)
    assert load_config(put(few, "measure.concurrency", [1, 10]), "mine")
    assert load_config(
        put(few | {"measure": {"concurrency": [64]}}, "measure.repetitions", 13), "m"
    )
    assert message(put(few, "measure.concurrency", [1, 64])) == (
        "measure.concurrency: 64 clients, but there are 10 samples (events.n_events × the larger "
        "of measure.repetitions and measure.min_blocks); expected at least one for each client"
    )


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


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("measure.concurency", [1], "measure.concurency: unknown key; did you mean concurrency?"),
        ("measure.xyz", 1, "measure.xyz: unknown key; expected one of concurrency, clients, "),
        ("event", {}, "; did you mean events?"),
        ("events.n_events", 0, "events.n_events: found 0, expected at least 1"),
        ("events.n_events", "five", "events.n_events: found 'five', expected integer, at least 1"),
        ("events.n_events", "yes", "events.n_events: found 'yes', expected integer, at least 1"),
        ("events.n_events", "2020-13-40", "events.n_events: found '2020-13-40', expected integer"),
        ("events.n_events", "{", "events.n_events: found '{', expected integer, at least 1"),
        ("events.n_events", "0", "events.n_events: found 0, expected at least 1"),
        ("events.pileup", ".nan", "events.pileup: found '.nan', expected number, at least 0"),
        ("events.n_events", True, "events.n_events: found True, expected integer, at least 1"),
        ("events.pileup", math.nan, "events.pileup: found nan, expected number, at least 0"),
        ("events.pileup", math.inf, "events.pileup: found inf, expected number, at least 0"),
        ("events.process", "tbar", "expected one of hnl, ttbar; did you mean ttbar?"),
        (
            "events.hnl.mass_gev",
            90,
            "events.hnl.mass_gev: found 90, expected at least 4 and at most 80.2",
        ),
        (
            "pipeline.labeling",
            "walk",
            "pipeline.labeling: found 'walk', expected one of comp",
        ),
        ("pipeline.labeling", "walkthru", "expected one of components, walkthrough; did you mean"),
        ("pipeline.walk_cut", 1.5, "pipeline.walk_cut: found 1.5, expected at least 0 and at most"),
        ("events.hnl", None, "events.hnl: found None, expected a mapping of keys to values"),
        ("train.seed", 20231, "train.seed: 20231 is events.seed too; expected another"),
        ("train.source", "trackml", "train.path: missing key; train.source: trackml needs the fol"),
        ("train.path", "mine", "train.path: expected none, or another train.source than generate"),
        ("train.networks.gnn.hiden", 8, "train.networks.gnn.hiden: unknown key; did you mean hid"),
        ("train.epochs.gnn", -1, "train.epochs.gnn: found -1, expected at least 1"),
        ("measure.concurrency", [], "measure.concurrency: found [], expected a list of one or"),
        ("measure.concurrency", 4, "measure.concurrency: found 4, expected a list of one or"),
        ("measure.concurrency", [0], "measure.concurrency[0]: found 0, expected at least 1 and at"),
        ("measure.concurrency", [1, 1], "measure.concurrency: found [1, 1], expected a list of"),
        ("measure.concurrency", ["a"], "measure.concurrency[0]: found 'a', expected integer"),
        ("analysis.confidence_level", 1, "found 1, expected more than 0 and less than 1"),
        ("server.ports", {"http": 1}, "server.ports.grpc: missing key"),
        ("results", "", "results: found '', expected text, not empty"),
        ("options", {}, "options: found {}, expected a mapping of keys to values, not empty"),
        ("options.S6.serve", ["gnnn"], "options.S6.serve[0]: found 'gnnn', expected one of embedd"),
        ("options.S6.serve", ["gnnn"], "; did you mean gnn?"),
        ("options.S6.serve", ["gnn", "gnn"], "options.S6.serve: found ['gnn', 'gnn'], expected a"),
        ("options.S6.serve", "ensembel", "ensemble, fused, model, or a list of stages; did you "),
        ("options.S6.serve", None, "options.S6.serve: found None, expected one of ensemble, fused"),
        ("options.plots", {"serve": []}, "options.plots: is a target of the workflow; expected"),
        ("options.plot_figures", {"serve": []}, "options.plot_figures: is a target of the work"),
        ("physics.methods.CKF", {"radius": 2}, "physics.methods.CKF: exatrkx, CKF, baseline are n"),
        ("physics.methods.Exatrkx", {"radius": 2}, "physics.methods.Exatrkx: exatrkx, CKF, baseli"),
        ("physics.methods.my own", {"radius": 2}, "found 'my own', expected a name of letters, di"),
        ("physics.methods.wide", {}, "physics.methods.wide: found {}, expected a mapping of keys"),
        ("physics.methods.wide", {"radus": 2}, "physics.methods.wide.radus: unknown key; did you"),
        ("physics.methods.wide.radius", 0, "physics.methods.wide.radius: found 0, expected more"),
        ("physics.methods.wide.labeling", "walk", "physics.methods.wide.labeling: found 'walk', e"),
        (
            "physics.methods.m",
            {"finder": "a:b", "command": ["x"]},
            "physics.methods.m: found finder and command, expected one of them",
        ),
        (
            "physics.methods.m",
            {"finder": "a:b", "radius": 2},
            "physics.methods.m.radius: a key of the pipeline beside finder; expected settings and",
        ),
        (
            "physics.methods.m",
            {"radius": 2, "settings": {}},
            "physics.methods.m.settings: found without finder or command, expected one of them",
        ),
        (
            "physics.methods.m",
            {"finder": "a"},
            "physics.methods.m.finder: found 'a', expected package.module:function or path/to/",
        ),
        ("physics.methods.m", {"command": []}, "physics.methods.m.command: found [], expected a"),
        ("physics.methods.m", {"command": "x"}, "m.command: found 'x', expected a list of one or"),
        (
            "physics.methods.m",
            {"finder": "a:b", "settings": {"x y": 1}},
            "m.settings: found 'x y', expected a name as arguments",
        ),
        (
            "physics.methods.m",
            {"finder": "a:b", "settings": 1},
            "m.settings: found 1, expected a mapping",
        ),
        ("physics.methods.m", {"findr": "a:b"}, "m.findr: unknown key; did you mean finder?"),
        ("options.S6", {}, "options.S6.serve: missing key"),
        ("options.S6.servr", [], "options.S6.servr: unknown key; did you mean serv"),
        ("options.S1.server", {}, "options.S1.server: found {}, expected a mapping of keys to val"),
        ("options.S1.server", {"image": "x"}, "options.S1.server.image: unknown key; expected one"),
        ("options.S1.server", {"protocol": "h2"}, "options.S1.server.protocol: found 'h2', expec"),
        ("options.S1.server", {"instances": 0}, "options.S1.server.instances: found 0, expected"),
        ("speed.options", ["S5"], "speed.options: found ['S5'], expected a list of none or more, "),
        ("speed.options", ["S5"], "each text, none of them twice, S0 among them"),
        ("options.S0.server", {"threads": 2}, "options.S0.server: expected none, for nothing is"),
        (
            "options.S5.server",
            {"instances": {"gnn": 2}},
            "options.S5.server.instances.gnn: S5 does not use this model; expected those of pipel",
        ),
        ("server.instances", 0, "server.instances: found 0, expected at least 1 and at most 64"),
        ("server.instances", "x", "server.instances: found 'x', expected integer, at least 1"),
        ("server.instances", {"gn": 2}, "server.instances.gn: unknown key; did you mean gnn?"),
        ("server.instances", {"gnn": 0}, "server.instances.gnn: found 0, expected at least 1"),
        ("server.instances", {}, "server.instances: found {}, expected a mapping of keys to val"),
        ("study_ensemble.options", {}, "study_ensemble.options.ensemble: missing key"),
        ("study_ensemble.options.S1", {"serve": []}, "options.S1: options.S1 is there as well"),
        (
            "options.S1.server",
            {"dynamic_batching": {"max_batch_size": 4}},
            "options.S1.server.dynamic_batching: expected none, or serve: fused",
        ),
        (
            "options.S5.server",
            {"dynamic_batching": {"max_batch_size": 1}},
            "options.S5.server.dynamic_batching.max_batch_size: found 1, expected at least 2",
        ),
        ("study_batch.batch", [], "study_batch.batch: found [], expected a list of one or more"),
        ("study_batch.batch", [2, 0], "study_batch.batch[1]: found 0, expected at least 1 and at"),
        ("options.S4_batch2", {"serve": []}, "options.S4_batch2: `study_batch` names its own so"),
        ("study_ensemble.options.plots", {"serve": []}, "options.plots: is a target of the work"),
        ("options.S 6", {"serve": []}, "found 'S 6', expected a name of letters, digits, - and _"),
        ("options.S6\n", {"serve": []}, "found 'S6\\n', expected a name of letters, digits, - and"),
        ("options." + 65 * "S", {"serve": []}, "expected a name of letters, digits, - and _, at m"),
        ("physics.methods.x\n", {"radius": 2}, "found 'x\\n', expected a name of letters, digits"),
        (
            "measure.request_timeout_s",
            1e300,
            "..., expected more than 0 and at most 86400",
        ),
        (
            "events.n_events",
            10**30,
            "events.n_events: found 1000000000000000000000000000000, expecte",
        ),
    ],
)
def test_an_error_names_the_key_and_what_was_expected(config, key, value, expected):
    changed = put(config, key, value)
    if key == "options.S6.servr":
        changed["options"]["S6"]["serve"] = []
    assert expected in message(changed)


def test_options_are_not_optional(config):
    rest = {key: value for key, value in config.items() if key != "options"}
    assert message(rest) == "options: missing key"


def test_an_option_is_named_by_text(config):
    changed = put(config, "options", {6: {"serve": []}})
    assert message(changed).startswith("options: found 6, expected a name")


def test_a_long_value_is_cut(config):
    assert len(message(put(config, "events", "x" * 1000))) < 200


@pytest.mark.parametrize("found", [None, [], "text", 3])
def test_a_file_that_is_no_mapping(found):
    assert "expected a mapping" in message(found)


@pytest.mark.parametrize("key", [key for key in LEAVES if "minimum" in RULES[key]])
def test_bounds_are_part_of_the_range(config, key):
    rule = RULES[key]
    config = put(config, "server.ports", {"http": 1, "grpc": 2, "metrics": 3})
    if key.startswith("server.model."):
        config = put(config, "server", EXTERNAL | {"model": {"name": "tracks"}})
        config["options"]["theirs"] = {"serve": "model"}
        config["events"] |= {"source": "features", "path": "mine"}
    config["measure"]["concurrency"] = [1]
    assert get(load_config(put(config, key, rule["minimum"]), "edge"), key) == rule["minimum"]
    assert message(put(config, key, rule["minimum"] - 1)).startswith(f"{key}: found ")
    if "maximum" in rule:
        assert get(load_config(put(config, key, rule["maximum"]), "edge"), key) == rule["maximum"]
        assert message(put(config, key, rule["maximum"] + 1)).startswith(f"{key}: found ")


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(LEAVES), st.from_type(type) | st.none() | st.dictionaries(st.text(), st.text())
)
def test_a_value_of_another_kind_is_refused_with_its_key(key, value):
    filled = load_config({"options": {"S0": {"serve": []}}}, "short")
    filled["server"]["ports"] = {"http": 1, "grpc": 2, "metrics": 3}
    filled["server"]["urls"] = {"http": "node:1", "grpc": "node:2"}
    filled["server"] |= {"tls": {}, "model": {"name": "tracks"}}
    filled["pipeline"]["models"] = {n: {"file": n} for n in ("embedding", "filtering", "gnn")}
    # Of a mapping where one may be, it is a key in it.
    inside = f"{key}." if isinstance(value, dict) else f"{key}: found "
    assert message(put(filled, key, value)).startswith((f"{key}: found ", inside))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(STAGES), unique=True) | st.sampled_from(["ensemble", "fused"]))
def test_any_placement_is_valid(serve):
    loaded = load_config({"options": {"mine": {"serve": serve}}}, "short")["options"]["mine"]
    in_order = serve if isinstance(serve, str) else [s for s in STAGES if s in serve]
    assert loaded == {"serve": in_order}


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


def test_settings_of_a_finder_are_free(config):
    settings = {"b": "1e-3", "a": ["2", None, {"y": "text", "x": True}], "c": float("nan")}
    changed = put(config, "physics.methods.mine", {"finder": "a.b:c", "settings": settings})
    loaded = load_config(changed, "mine")["physics"]["methods"]["mine"]["settings"]
    assert loaded == {"a": [2, None, {"x": True, "y": "text"}], "b": 1e-3, "c": "nan"}
    assert list(loaded) == ["a", "b", "c"]


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


def test_the_readme_has_the_table_of_the_schema(root):
    assert reference_table() in (root / "config" / "README.md").read_text()


RULE = re.compile(r"^(?:use rule \w+ as|rule) (\w+)(?: with)?:", re.MULTILINE)


def test_no_rule_can_be_the_name_of_an_option(root):
    files = [root / "Snakefile", *(root / "workflow" / "rules").glob("*.smk")]
    rules = {name for file in files for name in RULE.findall(file.read_text())}
    assert rules == TARGETS


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


THEIRS = EXTERNAL | {"model": {"name": "tracks"}}


def with_server(config, server):
    changed = put(config, "options.theirs", {"serve": "model"})
    return changed | {"server": server}


def test_a_model_of_somebody_else_is_filled_in(config):
    loaded = load_config(with_server(config, THEIRS), "mine")
    assert loaded["server"]["model"] == {
        "name": "tracks",
        "input": "FEATURES",
        "output": "LABELS",
        "features": ["r", "phi", "z"],
        "scales": [1000, 3.141592653589793, 1000],
    }
    only = with_server(config, THEIRS | {"protocol": "http", "urls": {"http": "node:1/path"}})
    assert load_config(only, "mine")["server"]["urls"] == {"http": "node:1/path"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"urls": {"http": "node:1"}}, "server.urls.grpc: missing key; server.launcher: external"),
        (
            {"urls": {"grpc": "https://node:1"}},
            "server.urls.grpc: found 'https://node:1', expected",
        ),
        (
            {"urls": {"grpc": "node"}},
            "server.urls.grpc: found 'node', expected host:port; server.tls",
        ),
        (
            {"urls": {"grpc": "me:s3cret@node:1"}},
            "server.urls.grpc: found another form, expected h",
        ),
        ({"launcher": "embedded"}, "server.model: expected none, or server.launcher: external"),
        ({"tls": {"key": "k.pem"}}, "server.tls: expected certificate and key, or none of them"),
        (
            {"tls": {"cert": "k.pem"}},
            "server.tls.cert: unknown key; expected one of ca, certificate, k",
        ),
        ({"headers": {"x": {"env": "GRPC_PASS"}}}, "server.headers.x.env: GRPC_PASS is taken out"),
        ({"headers": {"x": "s3cret"}}, "server.headers.x: expected {env: NAME}, the name of an"),
        ({"headers": {"x": {"env": "s3cret!"}}}, "server.headers.x.env: expected {env: NAME}, the"),
        ({"model": {"name": "a", "scales": [1]}}, "server.model.scales: found 1, expected as many"),
        ({"model": {"input": "X"}}, "server.model.name: missing key"),
        ({"model": {"name": "a", "features": ["w"]}}, "server.model.features[0]: found 'w', expec"),
        (
            {"model": {"name": "a", "columns": 44}},
            "server.model.columns: expected events.source: f",
        ),
        ({"model": None}, "options.theirs.serve: model: expected server.model, the model that"),
    ],
)
def test_what_is_wrong_with_somebody_elses_server(config, change, expected):
    found = message(with_server(config, THEIRS | change))
    assert found.startswith(expected) and "s3cret" not in found


def test_a_model_that_no_option_is_measured_with(config):
    found = message(config | {"server": THEIRS})
    assert found.startswith("server.model: no option is measured with it; expected one such as opt")


def test_who_knows_our_operators(config):
    def kernels(wanted, **server):
        changed = with_server(config, server) if "model" in server else config | {"server": server}
        return load_config(put(changed, "pipeline.kernels", wanted), "mine")["pipeline"]["kernels"]

    assert kernels("auto", launcher="embedded") == "auto"
    assert kernels("auto", **THEIRS) == "auto"  # they compute at home alone
    assert kernels("auto", **EXTERNAL) == kernels("auto", launcher="shifter") == "torch"
    assert kernels("compiled", **EXTERNAL) == "compiled"  # such as one that `snakemake serve` runs
    with pytest.raises(ConfigError, match=r"pipeline\.kernels: compiled: the torch of server\.lau"):
        kernels("compiled", launcher="apptainer")


def test_what_serves_onnx(config):
    def backend(wanted="auto", file="gnn.onnx", **server):
        changed = put(config | {"server": server | {"backend": wanted}}, "pipeline.models", {})
        changed = put(changed, "pipeline.models.gnn", {"file": file})
        return load_config(changed, "mine")["server"]["backend"]

    assert backend() == backend(**EXTERNAL) == "python"  # such as one that `snakemake serve` runs
    assert backend(file="gnn.pt2") == "auto" and backend("native", "gnn.pt") == "native"
    with pytest.raises(
        ConfigError, match=r"server\.backend: native can't run the ONNX of pipeline\.m"
    ):
        backend("native")
    with pytest.raises(
        ConfigError, match=r"pipeline\.models\.gnn\.file: ONNX: the LibTorch of server"
    ):
        backend(launcher="shifter")
    native = {"ensemble": {"serve": "ensemble", "server": {"backend": "native"}}}
    config = config | {"study_ensemble": {"options": native}}
    with pytest.raises(ConfigError, match=r"study_ensemble\.options\.ensemble\.server\.backend: n"):
        backend()


def test_what_a_study_needs_is_told_when_it_is_asked_for(config):
    options = {"ensemble": {"serve": "model"}}
    study = {"options": options, "concurrency": [1024]}
    filled = load_config(put(config | {"study_ensemble": study}, "events.n_events", 1), "mine")
    found = problem_of_options(filled["server"], options, "study_ensemble.options")
    assert found.startswith("study_ensemble.options.ensemble.serve: model: expected server.model")
    found = problem_of_clients(filled, "study_ensemble")
    assert found.startswith("study_ensemble.concurrency: 1024 clients, but there are ")
    assert problem_of_clients(filled, "measure") == ""
