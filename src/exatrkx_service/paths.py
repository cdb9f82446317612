"""Paths that a configuration names, checked before any job is planned.

Snakemake takes a missing input for made where the output exists, so it would go on with what was
made of another one.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from exatrkx_service.config import ConfigError, finder_kind
from exatrkx_service.environment import unsafe_character
from exatrkx_service.options import NETWORKS

# Folders of a checkout that are not for results.
OWN = (
    *(".ci", ".git", ".snakemake", ".venv", "config", "docs", "envs", "findings", "model_repo"),
    *("profiles", "slurm", "src", "tests", "tools", "workflow"),
)

# Of a folder of results, what another run is compared with.
COMPARED = ("summary.csv", "provenance.json")


def trained_here(config: Mapping[str, Any]) -> str:
    """The folder into which `snakemake train` writes, with this configuration."""
    return f"{config['results']}/models"


def weights_file(folder: Path | str, stage: str) -> str:
    """The file of a network's weights in their folder."""
    return f"{folder}/{stage}.safetensors"


def network_file(pipeline: Mapping[str, Any], stage: str) -> str | None:
    """The file of a network of the section ``pipeline``: of somebody else's, or its weights.

    None where geometric cuts take its place.
    """
    if stage in pipeline.get("geometric", {}):
        return None
    model = pipeline.get("models", {}).get(stage)
    return model["file"] if model else weights_file(pipeline["weights"], stage)


def finder_file(method: Mapping[str, Any]) -> str | None:
    """The file of Python code of an entry of ``physics.methods``, if it names one."""
    place = method.get("finder", "").rpartition(":")[0]
    return place if place.endswith(".py") else None


def finder_files(method: Mapping[str, Any]) -> list[str]:
    """The files that a track finder of one's own is made of, as far as its entry names them."""
    words = (word for word in method.get("command", ()) if Path(word).is_file())
    return sorted({*filter(None, [finder_file(method)]), *words, *method.get("files", ())})


def replacement(pipeline: Mapping[str, Any], stage: str) -> Mapping[str, Any] | None:
    """What takes the place of our network: how somebody else's is used, or geometric cuts."""
    others = pipeline.get("models", {}) | pipeline.get("geometric", {})
    return others.get(stage)


def network_files(pipeline: Mapping[str, Any]) -> list[str]:
    """The files of all networks of the section ``pipeline`` that have one."""
    files = (network_file(pipeline, stage) for stage in NETWORKS)
    return [file for file in files if file is not None]


def check_paths(config: Mapping[str, Any], root: Path) -> None:
    """Checks all paths of a configuration.

    Args:
        config: as ``config.load_config`` gives it.
        root: the checkout; paths of the configuration are relative to it.

    Raises:
        ConfigError: the checkout's path or that of the results would be misread by a shell, the
            results would lie on the workflow's own files, networks are missing (names the command
            that makes them), a container is no file, or a certificate or a variable is not there
            that an external server is used with.
    """
    character = unsafe_character(root)
    if character is not None:
        raise ConfigError(
            f"{root}: the path of the checkout has {character!r}, which a shell would misread; "
            "expected letters, digits and -_.+,@=/ alone"
        )
    _check_results(config["results"], root.resolve())
    pipelines = {"pipeline": config["pipeline"]}
    for name, method in config["physics"]["methods"].items():
        if finder_kind(method):
            _check_finder(f"physics.methods.{name}", method, root)
        elif method.keys() & {"weights", "models", "geometric"}:
            pipelines[f"physics.methods.{name}"] = config["pipeline"] | method
    for key, pipeline in pipelines.items():
        _check_networks(key, pipeline, trained_here(config), root)
    for section, folder in (("events", "imported"), ("train", "imported_train")):
        if "path" in config[section]:
            written = (root / config["results"] / "events" / folder).resolve()
            _check_events(section, config[section], written, root)
    server = config["server"]
    if server["launcher"] == "apptainer":
        _check_image(server["image"], root)
    if "against" in config["speed"]:
        _check_build(config["speed"]["against"], root)
    if server["launcher"] == "external":
        _check_access(server, root)
    if "baseline" in config:
        _check_baseline(config["baseline"], config["results"], root)


def _check_results(results: str, root: Path) -> None:
    if (character := unsafe_character(results)) is not None:
        raise ConfigError(
            f"results: found {results!r} with {character!r}, which a shell would misread; "
            "expected letters, digits and -_.+,@=/ alone"
        )
    folder = (root / results).resolve()
    if root.is_relative_to(folder):
        raise ConfigError(f"results: {results} holds the checkout; expected a folder for results")
    if folder.is_relative_to(root) and folder.relative_to(root).parts[0] in OWN:
        raise ConfigError(
            f"results: {results} lies on the workflow's own files; expected another folder, such "
            "as results/mine"
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"results: {results} is a file; expected a folder")


def _check_events(section: str, events: Mapping[str, Any], written: Path, root: Path) -> None:
    """Events that are read lie apart from those that are written; some formats search folders."""
    folder = (root / Path(events["path"]).expanduser()).resolve()
    within = events["source"] == "colliderml" and written.is_relative_to(folder)
    if within or folder.is_relative_to(written):
        raise ConfigError(
            f"{section}.path: {events['path']}: the events that are read would lie among those "
            f"that are written to {written}; expected a folder apart from it"
        )


def _check_networks(key: str, pipeline: Mapping[str, Any], trained: str, root: Path) -> None:
    folder, models = pipeline["weights"], pipeline.get("models", {})
    for stage in NETWORKS:
        path = network_file(pipeline, stage)
        if path is None:
            continue
        _check_name(f"{key}.models.{stage}.file" if stage in models else f"{key}.weights", path)
        if (root / path).is_file():
            continue
        if stage in models:
            raise ConfigError(
                f"{key}.models.{stage}.file: {path}: no such file; expected one of TorchScript, "
                "torch.export (.pt2) or ONNX (.onnx)"
            )
        if folder != trained:
            raise ConfigError(
                f"{key}.weights: {path}: no such file; expected a folder with the networks of "
                f"{', '.join(NETWORKS)}, as made by `{_training(Path(folder), root)}`"
            )


def _check_name(key: str, file: str) -> None:
    if set(file) & set("{}"):
        raise ConfigError(
            f"{key}: {file}: braces in its name, which Snakemake takes for those of a wildcard; "
            "expected a name without"
        )


def _check_finder(key: str, method: Mapping[str, Any], root: Path) -> None:
    file = finder_file(method)
    if file is not None and not (root / file).is_file():
        raise ConfigError(f"{key}.finder: {file}: no such file; expected one of Python code")
    program = method.get("command", [""])[0]
    if "/" in program and not (root / program).is_file():
        raise ConfigError(f"{key}.command: {program}: no such file; expected a program")
    for file in finder_files(method):
        _check_name(key, file)
    for file in method.get("files", ()):
        if not (root / file).is_file():
            raise ConfigError(f"{key}.files: {file}: no such file; expected one of the finder's")


def _training(folder: Path, root: Path) -> str:
    """The command that trains networks into a folder."""
    if folder.name != "models":
        return "snakemake train"
    for file in sorted((root / "config").glob("*.yaml")):
        if yaml.safe_load(file.read_text(encoding="utf-8")).get("results") == str(folder.parent):
            overlay = f" --configfile config/{file.name}"
            return "snakemake train" + (overlay if file.name != "config.yaml" else "")
    return f"snakemake train --config results={folder.parent}"


def _check_image(image: str, root: Path) -> None:
    path = Path(image).expanduser()
    is_path = "://" not in image and (image[0] in "/.~" or path.suffix in (".sif", ".simg"))
    if is_path and not (root / path).is_file():
        raise ConfigError(
            f"server.image: {image}: no such file; expected a container's file, or its name in a "
            "registry, such as nvcr.io/nvidia/tritonserver:24.10-py3"
        )


def _check_build(against: str, root: Path) -> None:
    for name in ("config/config.yaml", "model_repo", "src/exatrkx_service"):
        if not (root / against / name).exists():
            raise ConfigError(
                f"speed.against: {against}: no {name} in it; expected another checkout of this "
                "project, as `git worktree add ../before COMMIT` makes one"
            )


def _check_access(server: Mapping[str, Any], root: Path) -> None:
    """The certificates that are used with an external server, and the variables for its headers."""
    for name, header in server.get("headers", {}).items():
        if not os.environ.get(header["env"], "").strip():
            raise ConfigError(
                f"server.headers.{name}.env: {header['env']} is not set; expected an environment "
                "variable with the value of the header"
            )
    tls = server.get("tls", {})
    files = {key: root / Path(name).expanduser() for key, name in tls.items()}
    for key, path in files.items():
        if not path.is_file():
            raise ConfigError(f"server.tls.{key}: {tls[key]}: no such file; expected one in PEM")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        what = "ca"
        if "ca" in files:
            context.load_verify_locations(files["ca"])
        what = "certificate"
        if "certificate" in files:
            # An encrypted key would ask for its password.
            context.load_cert_chain(files["certificate"], files["key"], password=lambda: "")
    except (OSError, ValueError) as error:  # those of ssl derive from these
        also = f", or its key {tls['key']}" if what == "certificate" else ""
        expected = (
            "a certificate and its key, without a password" if also else "certificates of CAs"
        )
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ConfigError(
            f"server.tls.{what}: {tls[what]}{also}: can't be used ({reason}); expected {expected}, "
            "in PEM"
        ) from None


def _check_baseline(baseline: str, results: str, root: Path) -> None:
    expected = (
        f"expected another folder of results, with {' and '.join(COMPARED)}, as in "
        "`snakemake compare --config baseline=results/before`"
    )
    if (character := unsafe_character(baseline)) is not None:
        raise ConfigError(
            f"baseline: found {baseline!r} with {character!r}, which a shell would misread; "
            "expected letters, digits and -_.+,@=/ alone"
        )
    if (root / baseline).resolve() == (root / results).resolve():
        raise ConfigError(f"baseline: {baseline} is this run's own folder; {expected}")
    for name in COMPARED:
        path = Path(baseline, name)
        if not (root / path).is_file():
            raise ConfigError(f"baseline: {path}: no such file; {expected}")
