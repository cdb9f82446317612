"""Serves the whole pipeline as one model, with the code that a client runs without a server."""

from exatrkx_service.serving.joined_model import JoinedModel


class TritonPythonModel(JoinedModel):
    """All five stages; the networks are loaded from the repository that this model lies in."""
