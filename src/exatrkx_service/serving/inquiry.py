"""What a server says of itself, over gRPC or HTTP, with the clients of tritonclient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from geventhttpclient import HTTPParseError
from tritonclient.utils import InferenceServerException

from exatrkx_service.serving.access import Access
from exatrkx_service.serving.health import ServerError

# gRPC lets all channels of a process to one address share a connection; it limits messages, unless
# told otherwise, as soon as one argument is given; and it takes a proxy from the environment, for
# this machine's own addresses as well.
CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
]
TIMEOUT_S = 10
_REFUSED = ("401", "403", "StatusCode.UNAUTHENTICATED", "StatusCode.PERMISSION_DENIED")
_NOT_THERE = ("", "None", "StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED")


class Refused(ServerError):
    """A server that answers, but not this question."""


class Silent(ServerError):
    """A server that does not answer."""


class Inquiry:
    """Questions to one server; a context.

    Args:
        url: ``host:port``.
        protocol: ``grpc`` or ``http``.
        access: how the server lets its clients in.
    """

    def __init__(self, url: str, protocol: str = "grpc", access: Access | None = None) -> None:
        self.url, self.protocol, self.access = url, protocol, access or Access()
        self.headers = self.access.headers(protocol)

    def __enter__(self) -> Inquiry:
        if self.protocol == "grpc":
            credentials = self.access.credentials()
            self.client: Any = grpcclient.InferenceServerClient(
                self.url, creds=credentials, channel_args=CHANNEL
            )
        else:
            self.client = httpclient.InferenceServerClient(
                self.url,
                ssl=self.access.tls is not None,
                ssl_options=self.access.ssl_options(),
                connection_timeout=TIMEOUT_S,
                network_timeout=TIMEOUT_S,
            )
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def ask(self, what: str, *arguments: str) -> Any:
        """The answer to a question: a mapping, with counts as text over gRPC; or a bool.

        Args:
            what: a method of the clients of tritonclient.
            arguments: its first arguments.

        Raises:
            Refused: the server does not answer this question.
            Silent: it does not answer at all.
        """
        how: dict[str, Any] = {"headers": self.headers}
        if self.protocol == "grpc":
            how["client_timeout"] = TIMEOUT_S
            if what.startswith("get_"):
                how["as_json"] = True
        try:
            return getattr(self.client, what)(*arguments, **how)
        except InferenceServerException as error:
            status, message = str(error.status()), error.message() or ""
        except (OSError, HTTPParseError) as error:
            status, message = "", f"{type(error).__name__}: {error}"
        # tritonclient puts its own trouble with the answer before it.
        message = self.access.masked(" ".join(message.rpartition("\nresponse: ")[2].split()))
        if status in _REFUSED:
            raise Refused(
                f"the server at {self.url} refuses its client: {message or status}; is a header "
                "missing (server.headers)?"
            )
        if status not in _NOT_THERE:
            raise Refused(f"the server at {self.url}: {message}")
        raise Silent(f"the server at {self.url} does not answer: {message}")

    def check_ready(self, models: Sequence[str]) -> None:
        """Raises ServerError unless the server is ready with the models."""
        for model in models:
            if not self.ask("is_model_ready", model):
                raise ServerError(f"the server at {self.url} is not ready with the model {model}")


def ask_version(url: str, models: Sequence[str], access: Access | None = None) -> str:
    """The version of the server at a URL of gRPC, which must be ready with the models.

    Raises:
        ServerError: it does not answer, or is not ready.
    """
    with Inquiry(url, access=access) as server:
        server.check_ready(models)
        return server.ask("get_server_metadata").get("version", "not known")
