"""Serves the whole pipeline as one model, with the code that a client runs without a server."""

from exatrkx_service.options import STAGES
from exatrkx_service.serving.stage_model import StageModel


class TritonPythonModel(StageModel):
    """All five stages; the networks are loaded from the repository that this model lies in."""

    stages = STAGES
