"""Serves the stage `labeling` with the code that a client runs."""

from exatrkx_service.serving.stage_model import StageModel


class TritonPythonModel(StageModel):
    """Tracks from the edges that the GNN scored, as the parameter `labeling` says."""

    stages = ("labeling",)
