"""An HTTPS gateway: it wants a header and the certificate of a client, and has a limit."""

import contextlib
import http.client
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSED_ON = ("content-length", "content-type", "inference-header-content-length")


class Handler(BaseHTTPRequestHandler):
    """Passes on what it may, with one connection to the server for each of a client."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        self.behind = http.client.HTTPConnection(self.server.behind)
        super().setup()

    def finish(self):
        self.behind.close()
        super().finish()

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("authorization") != self.server.wanted:
            # As careless ones do, it repeats what it got.
            return self.answer(401, f"{self.headers.get('authorization')} is not known".encode())
        if self.path.endswith("/infer"):
            self.server.n_left -= 1
            if self.server.n_left < 0:
                return self.answer(429, b"slow down", {"Retry-After": "1"})
        kept = {name: value for name, value in self.headers.items() if name.lower() in PASSED_ON}
        self.behind.request(self.command, self.path, body, kept)
        response = self.behind.getresponse()
        others = {n: v for n, v in response.getheaders() if n.lower() in PASSED_ON[1:]}
        return self.answer(response.status, response.read(), others)

    do_GET = do_POST = handle_any

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Length": len(body)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Gateway(ThreadingHTTPServer):
    """Ends the TLS of each connection in the thread of that connection."""

    daemon_threads = True

    def finish_request(self, request, client_address):
        with contextlib.suppress(OSError):
            secure = self.context.wrap_socket(request, server_side=True)
            super().finish_request(secure, client_address)


@contextlib.contextmanager
def gateway(behind, certificates, wanted):
    """Runs it; its ``n_left`` is how many requests it lets pass.

    Args:
        behind: ``host:port`` of the server.
        certificates: see ``their_server.certificates``.
        wanted: the value of the header authorization.
    """
    with Gateway(("127.0.0.1", 0), Handler) as server:
        server.behind, server.wanted, server.n_left = behind, wanted, 10**9
        server.context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem"
        )
        server.context.verify_mode = ssl.CERT_REQUIRED
        server.context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        server.url = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
