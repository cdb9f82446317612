"""A request that a server turns away because it has enough to do, told apart from a failure.

gRPC: RESOURCE_EXHAUSTED, and UNAVAILABLE with a time after which to come back (RetryInfo of
google.rpc, ``retry-after``, or ``grpc-retry-pushback-ms`` of gRFC A6). HTTP: 429 (RFC 6585), and
503 with ``Retry-After`` (RFC 9110). Triton itself says that a model's queue is full, by UNAVAILABLE
and 503.
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from tritonclient.utils import InferenceServerException

FULL_QUEUE = "Exceeds maximum queue size"  # of Triton, see max_queue_size of a dynamic batcher
TOO_LARGE = "larger than max"  # of gRPC, under RESOURCE_EXHAUSTED too: the request never passes
_LATER = ("retry-after", "grpc-retry-pushback-ms")
_DETAILS, _RETRY_INFO = "grpc-status-details-bin", b"google.rpc.RetryInfo"


class Rejected(InferenceServerException):
    """A request that the server turned away; the same one may pass later."""


def rejected_by_grpc(error: grpc.RpcError) -> bool:
    """Whether a call that failed was turned away."""
    code, details = error.code(), error.details() or ""
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return TOO_LARGE not in details.lower()
    if code != grpc.StatusCode.UNAVAILABLE:
        return False
    metadata = dict(error.trailing_metadata() or ()) if hasattr(error, "trailing_metadata") else {}
    later = any(name in metadata for name in _LATER)
    return later or FULL_QUEUE in details or _RETRY_INFO in metadata.get(_DETAILS, b"")


def rejected_by_http(status: int, headers: Mapping[str, str], answer: str) -> bool:
    """Whether a request with such an answer was turned away; names of headers in lower case."""
    return status == 429 or (status == 503 and ("retry-after" in headers or FULL_QUEUE in answer))
