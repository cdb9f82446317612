"""Somebody else's server: its token, and what is said when it does not answer."""

import pytest
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import Client
from exatrkx_service.serving.access import Access
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.server import ServerError, free_ports


@pytest.fixture
def external(settings):
    """Settings for the server at some URLs."""
    return lambda server: (
        settings
        | {
            "launcher": "external",
            "urls": {"grpc": server.grpc_url, "http": server.http_url},
        }
    )


def test_a_server_that_is_not_there(config, tmp_path, settings):
    port = free_ports()["grpc"]
    settings |= {"launcher": "external", "urls": {"grpc": f"127.0.0.1:{port}", "http": "x:1"}}
    with (
        pytest.raises(ServerError, match=rf"the server at 127.0.0.1:{port} does not answer"),
        launch(tmp_path, ["labeling"], tmp_path, settings, config["pipeline"]),
    ):
        pass


def test_a_model_that_it_does_not_have(repository, settings, config, tmp_path, external):
    with (
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server,
        pytest.raises(ServerError, match="is not ready with the model gnn"),
        launch(repository, ["gnn"], tmp_path / "x", external(server), config["pipeline"]),
    ):
        pass


def test_who_does_not_know_the_token_is_refused(repository, settings, config, tmp_path):
    arguments = (repository, ["labeling"], tmp_path / "w", settings, config["pipeline"])
    with launch(*arguments, token="secret") as server:
        for protocol, url in (("grpc", server.grpc_url), ("http", server.http_url)):
            for token in ("", "wrong"):
                client = Client(url, protocol, 20, Access(token=token))
                message = client.transport.encode("labeling", {}, "labels", "x")
                with pytest.raises(InferenceServerException, match="restricted"):
                    client.call("labeling", message)
                client.close()
            client = Client(url, protocol, 20, Access(token="secret"))
            with pytest.raises(InferenceServerException, match="expected 3 inputs but got 0"):
                client.call("labeling", message)
            client.close()
