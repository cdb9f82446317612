"""Answers at once: what a request costs that computes nothing."""

from exatrkx_service.serving.stage_model import NullModel


class TritonPythonModel(NullModel):
    """As many numbers as the request asks for."""
