"""Serves the stage `building` with the code that a client runs."""

from exatrkx_service.serving.stage_model import StageModel


class TritonPythonModel(StageModel):
    """Fixed-radius nearest neighbours in the embedding space."""

    stages = ("building",)
