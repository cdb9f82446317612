import pytest
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import Client


@pytest.mark.parametrize(
    "error", [TimeoutError("timed out"), ConnectionResetError(), HTTPConnectionClosed("closed")]
)
def test_a_lost_connection_is_a_failed_request(error):
    client = Client("127.0.0.1:9", "http", 1)

    def infer(*args, **kwargs):
        raise error

    client.connection.infer = infer
    with pytest.raises(InferenceServerException, match=type(error).__name__):
        client.infer("gnn", [], [], "id")
    client.close()
