import shutil

import pytest

from exatrkx_service.identity import with_networks


@pytest.fixture
def repository(root, tmp_path):
    """The tracked model repository, without exported networks."""
    ignore = shutil.ignore_patterns("model.pt", "__pycache__")
    return shutil.copytree(root / "model_repo", tmp_path / "repository", ignore=ignore)


@pytest.fixture
def config(config, root):
    """The default configuration, with the identity of the networks as the jobs add it."""
    pipeline = config["pipeline"]
    pipeline["weights"] = str(root / pipeline["weights"])
    return config | {"pipeline": with_networks(pipeline)}


@pytest.fixture
def settings(config):
    return dict(config["server"])
