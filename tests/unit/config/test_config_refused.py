"""What is refused, each with its key and what was expected."""

import math

import pytest
from configs import EXTERNAL, LEAVES, RULES, get, message, put
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.config import load_config


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


@pytest.mark.parametrize("text", ["1_000", "0x10", "nan", "inf", "1e", "١", "", "1 2", "true"])
def test_other_text_is_no_number(config, text):
    assert message(put(config, "events.n_events", text)).startswith("events.n_events: found ")
