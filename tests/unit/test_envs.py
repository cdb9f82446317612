"""The pins: the list for pip is complete, and the conda environments agree with it."""

import importlib.metadata
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ENVIRONMENTS = ("cpu", "v100", "a100")
# conda's name -> the name in requirements.lock
CONDA_NAMES = {"pytorch": "torch"}
FAISS = {"cpu": "faiss-cpu", "v100": "faiss-gpu", "a100": "faiss-gpu"}
LOCKS = ("requirements.lock", "requirements-no-deps.lock")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# No dependencies of the package; for `snakemake --profile slurm`.
SLURM = [Requirement("snakemake-executor-plugin-slurm")]
# Not for a job: Snakemake runs the scripts, but from its own environment.
NOT_IN_CONDA = {"snakemake", "pygments", "faiss-cpu"}


def read_lines(path) -> list[Requirement]:
    lines = path.read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def read_pins(*paths, python=PYTHON) -> dict[str, str]:
    pins = {}
    for requirement in [each for path in paths for each in read_lines(path)]:
        marker = requirement.marker
        if marker is None or marker.evaluate({"python_version": python}):
            name, (specifier,) = canonicalize_name(requirement.name), requirement.specifier
            assert name not in pins, name
            pins[name] = specifier.version
    return pins


@pytest.fixture(scope="module")
def paths(root):
    return [root / name for name in LOCKS]


@pytest.fixture(scope="module")
def lock(paths):
    return read_pins(*paths)


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def direct(project, extras=()) -> list[Requirement]:
    lists = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    return [Requirement(text) for each in lists for text in each]


@pytest.mark.parametrize("name", LOCKS)
def test_a_list_has_exact_versions_and_nothing_else(root, name):
    for requirement in read_lines(root / name):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        assert "+" not in specifier.version, requirement
        assert requirement.url is None and not requirement.extras, requirement


def test_numpy_alone_depends_on_the_python(paths):
    marked = [each.name for path in paths for each in read_lines(path) if each.marker]
    assert marked == ["numpy", "numpy"]


def test_the_list_is_in_order(root):
    lines = [x for x in (root / "requirements.lock").read_text().splitlines() if "#" not in x]
    assert lines == sorted(lines, key=str.lower)


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
    found = needed([*direct(project, project["optional-dependencies"]), *SLURM])
    assert set(lock) == set(found)
    unmet = {
        name
        for name, requirements in found.items()
        if any(lock[name] not in each.specifier for each in requirements)
    }
    assert unmet == {"numpy"}  # it is why --no-deps; when this is empty, merge the lists


def test_pip_agrees_with_the_list_that_it_resolves(root):
    pins = read_pins(root / LOCKS[0])
    for name in pins:
        for requirement in map(Requirement, importlib.metadata.requires(name) or []):
            needs = canonicalize_name(requirement.name)
            if needs in pins and (requirement.marker is None or requirement.marker.evaluate()):
                assert pins[needs] in requirement.specifier, (name, requirement)


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


def test_conda_environments_have_the_versions_of_the_list(environment, paths):
    name, content = environment
    conda, pip = conda_pins(content), pip_pins(content)
    lock = read_pins(*paths, python=conda["python"])
    assert not conda.keys() & pip.keys()
    both = {**conda, **pip}
    assert both["numpy"] == lock["numpy"] and both["torch"] == lock["torch"]
    differing = {n: v for n, v in both.items() if n in lock and v != lock[n]}
    assert differing == {}
    compiler = "cxx-compiler"  # for the native backend
    assert set(both) - set(lock) <= {"python", "pip", "cuda-version", compiler, FAISS[name]}


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
