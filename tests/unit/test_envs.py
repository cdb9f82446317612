"""The pins: the list for pip is complete, and the conda environments agree with it."""

import importlib.metadata
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ENVIRONMENTS = ("cpu", "v100", "a100")
# conda's name -> the name in requirements.lock
CONDA_NAMES = {"pytorch": "torch"}
FAISS = {"cpu": "faiss-cpu", "v100": "faiss-gpu-cu12", "a100": "faiss-gpu"}
# Not for a job: Snakemake runs the scripts, but from its own environment.
NOT_IN_CONDA = {"snakemake", "pygments", "faiss-cpu"}


def read_pins(path) -> dict[str, str]:
    pins = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[canonicalize_name(name)] = version
    return pins


@pytest.fixture(scope="module")
def lock(root):
    return read_pins(root / "requirements.lock")


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def direct(project, extras=()) -> list[Requirement]:
    lists = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    return [Requirement(text) for each in lists for text in each]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-slurm.lock"])
def test_a_list_has_exact_versions_and_nothing_else(root, name):
    for line in (root / name).read_text().splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            assert "+" not in specifier.version, line
            assert requirement.url is None and requirement.marker is None, line


def test_the_list_is_in_order(root):
    lines = [x for x in (root / "requirements.lock").read_text().splitlines() if "#" not in x]
    assert lines == sorted(lines, key=str.lower)
    assert len({canonicalize_name(line.split("==")[0]) for line in lines}) == len(lines)


def needed(requirements) -> dict[str, list[Requirement]]:
    """Everything the requirements ask for, at any depth, as the installed packages declare it."""
    found, seen, todo = {}, set(), [(requirement, frozenset({""})) for requirement in requirements]
    while todo:
        requirement, extras = todo.pop()
        markers = [{"extra": extra} for extra in extras]
        if requirement.marker and not any(map(requirement.marker.evaluate, markers)):
            continue
        name = canonicalize_name(requirement.name)
        found.setdefault(name, []).append(requirement)
        key = (name, frozenset(requirement.extras) | {""})
        if key not in seen:
            seen.add(key)
            # A build of torch for CUDA names the versions of its libraries itself.
            declared = importlib.metadata.requires(name) or []
            libraries = ("nvidia-", "cuda-", "triton") if name == "torch" else ()
            todo += [(Requirement(x), key[1]) for x in declared if not x.startswith(libraries)]
    return found


def test_the_list_is_complete_and_has_nothing_more(lock, project):
    found = needed(direct(project, project["optional-dependencies"]))
    assert set(lock) == set(found)
    for name, requirements in found.items():
        for requirement in requirements:
            assert lock[name] in requirement.specifier, requirement


def test_slurm_needs_nothing_that_the_list_lacks(root, lock):
    slurm = read_pins(root / "requirements-slurm.lock")
    found = needed([Requirement(name) for name in slurm])
    assert set(found) <= set(lock) | set(slurm)
    unmet = {
        name
        for name, requirements in found.items()
        if any(({**lock, **slurm})[name] not in each.specifier for each in requirements)
    }
    assert unmet == {"numpy"}  # it is why --no-deps; when this is empty, merge the lists


def test_the_list_is_what_is_installed(lock):
    def release(name):
        return importlib.metadata.version(name).split("+")[0]

    assert {name: release(name) for name in lock} == lock


@pytest.fixture(params=ENVIRONMENTS)
def environment(request, root):
    return request.param, yaml.safe_load((root / "envs" / f"{request.param}.yaml").read_text())


def conda_pins(content) -> dict[str, str]:
    pins = {}
    for entry in content["dependencies"]:
        if isinstance(entry, str):
            name, _, rest = entry.partition("=")
            pins[CONDA_NAMES.get(name, name)] = rest.partition("=")[0]
    return pins


def pip_pins(content) -> dict[str, str]:
    (section,) = [x["pip"] for x in content["dependencies"] if isinstance(x, dict)]
    pins = {}
    for requirement in map(Requirement, section):
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        pins[canonicalize_name(requirement.name)] = specifier.version
    return pins


def test_conda_environments_have_the_versions_of_the_list(environment, lock):
    name, content = environment
    conda, pip = conda_pins(content), pip_pins(content)
    assert not conda.keys() & pip.keys()
    both = {**conda, **pip}
    assert both["numpy"] == lock["numpy"] and both["torch"] == lock["torch"]
    differing = {n: v for n, v in both.items() if n in lock and v != lock[n]}
    assert differing == {}
    assert set(both) - set(lock) <= {"python", "pip", "cuda-version", FAISS[name]}


def test_conda_environments_have_all_that_a_job_imports(environment, project):
    name, content = environment
    present = {**conda_pins(content), **pip_pins(content)}
    wanted = {canonicalize_name(each.name) for each in direct(project)}
    assert wanted - NOT_IN_CONDA | {FAISS[name]} <= set(present)


def test_conda_environments_have_a_supported_python(environment, project):
    version = conda_pins(environment[1])["python"]
    assert f"{version}.0" in SpecifierSet(project["requires-python"])


def test_there_is_an_environment_for_each_name_in_the_schema(root):
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    allowed = schema["properties"]["environment"]["enum"]
    files = {path.stem for path in (root / "envs").glob("*.yaml")}
    assert set(allowed) == files == set(ENVIRONMENTS)


def test_conda_environments_name_no_index(environment):
    _, content = environment
    assert content["channels"] == ["conda-forge", "nodefaults"]
    assert set(content) == {"channels", "dependencies"}
