"""The section ``server``, and the servers of single options."""

import pytest
from configs import EXTERNAL, message, put

from exatrkx_service.config import ConfigError, load_config, problem_of_clients
from exatrkx_service.server_settings import problem_of_options

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
        ({"threads": 2}, "server.threads: expected none, for it can't be chosen with server.launc"),
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
