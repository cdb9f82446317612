"""One set of versions: the lock, the conda environments and the package's dependencies agree."""

import re
import tomllib

import pytest
import yaml


def name_of(requirement):
    return re.split(r"[\[=<>;~! ]", requirement)[0].lower().replace("_", "-")


@pytest.fixture
def lock(root):
    lines = (root / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-\[\]]+==[\w.]+", pin) for pin in pins), "an exact version each"
    return {name_of(pin): pin.split("==")[1] for pin in pins}


@pytest.mark.parametrize("environment", ["cpu", "v100", "a100"])
def test_the_conda_environments_have_the_versions_of_the_lock(root, lock, environment):
    content = yaml.safe_load((root / "envs" / f"{environment}.yaml").read_text())
    pip = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    shared = 0
    for requirement in pip:
        name, version = name_of(requirement), requirement.split("==")[1].split("+")[0]
        if name in lock:
            assert version == lock[name], name
            shared += 1
    assert shared >= 15
    if environment != "cpu":
        faiss = next(r for r in pip if r.startswith("faiss-gpu"))
        assert tuple(map(int, faiss.split("==")[1].split("."))) <= (1, 14, 1)


def test_every_dependency_of_the_package_is_locked(root, lock):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    direct = {name_of(requirement) for requirement in project["dependencies"]}
    direct |= {name_of(r) for extra in project["optional-dependencies"].values() for r in extra}
    assert direct <= lock.keys(), direct - lock.keys()
