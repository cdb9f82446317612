import shutil

import pytest


@pytest.fixture
def repository(root, tmp_path):
    """The tracked model repository, without exported networks."""
    ignore = shutil.ignore_patterns("model.pt", "__pycache__")
    return shutil.copytree(root / "model_repo", tmp_path / "repository", ignore=ignore)


@pytest.fixture
def settings(config):
    return dict(config["server"])
