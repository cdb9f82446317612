import shutil

import psutil
import pytest
from real_server import backend_folders

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


@pytest.fixture
def no_folder_of_a_backend_is_left():
    before = backend_folders()
    yield
    left = backend_folders() - before
    # One of a server that other tests run meanwhile is no fault, and goes with it.
    names = {process.info["name"] for process in psutil.process_iter(["name"])}
    assert not left or "tritonserver" in names
