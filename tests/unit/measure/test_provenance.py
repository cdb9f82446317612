"""What was measured with what."""

import json

from exatrkx_service.analysis.checks import combine_provenance
from exatrkx_service.analysis.facts import run_facts
from exatrkx_service.measure.provenance import write

CONFIG = {
    "server": {"launcher": "embedded", "protocol": "grpc", "instances": 1},
    "measure": {"concurrency": [1, 2], "rounds": 3},
}


def record_of(tmp_path, monkeypatch, root, config, settings):
    monkeypatch.chdir(root)  # where the workflow runs
    samples, path = tmp_path / "samples", tmp_path / "provenance.json"
    samples.write_text("")
    write(path, {}, config, settings, {"option": "S1"}, [samples])
    return json.loads(path.read_text())


def test_an_options_own_server_and_a_studys_loads_are_facts_of_the_job(tmp_path, monkeypatch, root):
    server = {"protocol": "http", "instances": {"gnn": 2}, "threads": 2}
    settings = {
        "server": {"launcher": "embedded", **server},
        "measure": {"concurrency": [4]},
    }
    own = record_of(tmp_path, monkeypatch, root, CONFIG, settings)
    assert own["config"] == CONFIG
    assert own["job"]["own"] == {"server": server, "measure": {"concurrency": [4]}}
    plain = record_of(tmp_path, monkeypatch, root, CONFIG, {"server": CONFIG["server"]})
    assert plain["job"] == {"option": "S1", "own": {}}
    # They are no difference of the set-up, whatever their form.
    merged = combine_provenance({"S1/round1": plain, "S6/round1": own})
    assert merged["common"]["config"] == CONFIG and merged["differs"] == {}
    facts = run_facts(
        combine_provenance({name: with_time(r) for name, r in (("S1", plain), ("S6", own))}),
        needs_server=True,
    )
    assert facts["Protocol"] == "grpc; http (S6)"


def with_time(record):
    return record | {"job": record["job"] | {"began": "2026-11-25T10:00:00+00:00"}}


def test_what_somebody_elses_server_has_is_not_what_the_configuration_says(
    tmp_path, monkeypatch, root
):
    server = {"server": CONFIG["server"] | {"launcher": "external"}}
    found = record_of(tmp_path, monkeypatch, root, CONFIG | server, server)
    assert found["config"]["server"] == server["server"] | {"instances": None}
