"""What was measured with what."""

import json

from exatrkx_service.measure.provenance import write

CONFIG = {
    "server": {"launcher": "embedded", "protocol": "grpc", "instances": 1},
    "measure": {"concurrency": [1, 2], "rounds": 3},
}


def config_of(tmp_path, monkeypatch, root, config, settings):
    monkeypatch.chdir(root)  # where the workflow runs
    samples, path = tmp_path / "samples", tmp_path / "provenance.json"
    samples.write_text("")
    write(path, {}, config, settings, {}, [samples])
    return json.loads(path.read_text())["config"]


def test_an_options_own_server_and_a_studys_loads_are_recorded(tmp_path, monkeypatch, root):
    settings = {
        "server": {"launcher": "embedded", "protocol": "http", "instances": 2},
        "measure": {"concurrency": [4]},
    }
    found = config_of(tmp_path, monkeypatch, root, CONFIG, settings)
    assert found["server"] == settings["server"]
    assert found["measure"] == {"concurrency": [4], "rounds": 3}


def test_what_somebody_elses_server_has_is_not_what_the_configuration_says(
    tmp_path, monkeypatch, root
):
    server = {"server": CONFIG["server"] | {"launcher": "external"}}
    found = config_of(tmp_path, monkeypatch, root, CONFIG | server, server)
    assert found["server"] == server["server"] | {"instances": None}
