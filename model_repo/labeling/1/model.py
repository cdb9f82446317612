"""Serves the stage `labeling` with the code that a client runs."""

from exatrkx_service.serving.stage_model import StageModel


class TritonPythonModel(StageModel):
    """Connected components of the edges that the GNN kept."""

    stages = ("labeling",)
