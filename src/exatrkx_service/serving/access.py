"""How a server lets its clients in: TLS, and headers whose values are secrets."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from exatrkx_service.serving.health import ServerError

TOKEN_HEADER = "exatrkx-token"
PATIENCE_S = 2  # for what a server has to say against a client's certificate, after the handshake
_ALPN = {"grpc": ["h2"], "http": ["http/1.1"]}


@dataclass(frozen=True)
class Access:
    """What a client needs to be let in; each process reads the headers' values when it needs them.

    Attributes:
        token: of a server of ours; empty for all others.
        tls: paths of the files ``ca``, ``certificate`` and ``key``, some or none of them; None for
            a server that does not speak TLS.
        variables: by header, the environment variable that holds its value.
    """

    token: str = ""
    tls: Mapping[str, str] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, server: Mapping[str, Any]) -> Access:
        """Reads the section ``server`` of the configuration."""
        headers = server.get("headers", {})
        return cls("", server.get("tls"), {name: entry["env"] for name, entry in headers.items()})

    def headers(self, protocol: str) -> dict[str, str]:
        """The headers of a request over ``grpc`` or ``http``.

        Raises:
            ServerError: a variable is not set, or holds what no header can have.
        """
        prefix = "triton-grpc-protocol-" if protocol == "grpc" else ""
        own = {f"{prefix}{TOKEN_HEADER}": self.token} if self.token else {}
        return own | {name.lower(): self._value(name) for name in self.variables}

    def _value(self, name: str) -> str:
        variable = self.variables[name]
        value = os.environ.get(variable, "").strip()
        if not value or not (value.isascii() and value.isprintable()):
            found = "is not set" if not value else "has characters that no header can have"
            raise ServerError(
                f"server.headers.{name}.env: {variable} {found}; expected an environment variable "
                "with the value of the header"
            )
        return value

    def masked(self, text: str) -> str:
        """A text of the server without the headers' values, which it may repeat."""
        for name in self.variables:
            value = self._value(name)
            # Of `Bearer abc` the second word alone, too.
            for secret in sorted({value, *value.split()}, key=len, reverse=True):
                if len(secret) > 3 and secret.lower() not in ("basic", "bearer", "digest"):
                    text = text.replace(secret, "***")
        return text

    def _file(self, key: str) -> Path | None:
        return Path(self.tls[key]).expanduser() if self.tls and key in self.tls else None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What gRPC takes for TLS; None without TLS."""
        if self.tls is None:
            return None
        files = [self._file(key) for key in ("ca", "key", "certificate")]
        return grpc.ssl_channel_credentials(*(path and path.read_bytes() for path in files))

    def ssl_options(self) -> dict[str, str]:
        """What geventhttpclient takes for TLS."""
        names = {"ca": "ca_certs", "certificate": "certfile", "key": "keyfile"}
        return {name: str(self._file(key)) for key, name in names.items() if self._file(key)}


def diagnose(url: str, protocol: str, access: Access) -> str:
    """Why a server does not answer, as far as TLS can be the reason; empty if it is not.

    Args:
        url: ``host:port``, a path may follow.
        protocol: ``grpc`` or ``http``.
        access: how it was tried.
    """
    host, _, port = url.partition("/")[0].rpartition(":")
    if not port.isdigit():
        return ""
    context = ssl.create_default_context(cafile=access._file("ca"))
    context.set_alpn_protocols(_ALPN[protocol])
    if access.tls is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif access._file("certificate"):
        context.load_cert_chain(access._file("certificate"), access._file("key"))
    try:
        plain = socket.create_connection((host, int(port)), PATIENCE_S)
    except OSError:
        return ""
    certificate = (access.tls or {}).get("certificate", "none")
    refused = f"server.tls.certificate: {certificate}: expected one that the server takes"
    shaken = False
    try:
        with plain, context.wrap_socket(plain, server_hostname=host.strip("[]")) as secure:
            if access.tls is None:
                return "it speaks TLS, which server.tls is for (tls: {} without files of your own)"
            shaken = True
            # In TLS 1.3 the client's certificate is judged after the handshake.
            return "" if secure.recv(1) else f"{refused} (it ended the connection)"
    except ssl.SSLCertVerificationError as error:
        ca = access.tls.get("ca", "none, so the system's certificates")
        return (
            f"server.tls.ca: {ca}: expected who vouches for the server's certificate "
            f"({error.verify_message})"
        )
    except (ssl.SSLError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        if access.tls is None:
            return ""
        if not shaken and "ALERT" not in str(reason):
            return f"server.tls: expected none, for it does not seem to speak TLS ({reason})"
        return f"{refused} ({reason})"
    except OSError:  # it has nothing to say against it
        return ""
