"""The section ``server`` of the configuration: which of its keys can't go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exatrkx_service.environment import is_wanted
from exatrkx_service.options import ENSEMBLE, MODEL, Option

# What only who starts a server can choose.
OURS = ("instances", "threads", "dynamic_batching")


def server_of(option: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``server`` for one entry of the section ``options``."""
    return {**server, **option.get("server", {})}


def problem_of_server(server: dict[str, Any], options: dict[str, Any], source: str) -> str:
    """What is wrong with the section ``server`` as a whole, with its key; empty if nothing is.

    Args:
        server: the section, complete and right as far as the schema goes.
        options: the section ``options``.
        source: of the events.
    """
    external, urls = server["launcher"] == "external", server.get("urls", {})
    if external and server["protocol"] not in urls:
        key = f"server.urls.{server['protocol']}" if urls else "server.urls"
        return (
            f"{key}: missing key; server.launcher: external needs the server's address of "
            f"server.protocol: {server['protocol']}, such as urls: {{grpc: node01:8001, http: "
            "node01:8000}"
        )
    if external and "threads" in server:
        return (
            "server.threads: expected none, for it can't be chosen with server.launcher: external; "
            "the server says how many its models have"
        )
    if problem := problem_of_options(server, options, "options"):
        return problem
    for protocol, url in urls.items():
        if "://" in url or set(url) & set("@ ") or (protocol == "grpc" and ":" not in url):
            # A password may stand in it.
            found = "another form" if "@" in url else repr(url)
            return (
                f"server.urls.{protocol}: found {found}, expected host:port; server.tls is for "
                "TLS and server.headers for what the server wants to know of its clients"
            )
    for key in ("model", "tls", "headers"):
        if key in server and not external:
            return f"server.{key}: expected none, or server.launcher: external"
    for name, header in server.get("headers", {}).items():
        if not is_wanted(header["env"]):
            return (
                f"server.headers.{name}.env: {header['env']} is taken out of the environment, "
                "as all variables that libraries read; expected another name"
            )
    if ("certificate" in server.get("tls", {})) != ("key" in server.get("tls", {})):
        return "server.tls: expected certificate and key, or none of them"
    of_model = [name for name, option in options.items() if option["serve"] == MODEL]
    if "model" not in server:
        return ""
    if not of_model:
        return (
            "server.model: no option is measured with it; expected one such as "
            f"options: {{theirs: {{serve: {MODEL}}}}}"
        )
    if "columns" in server["model"] and source != "features":
        return (
            "server.model.columns: expected events.source: features, whose files have columns that "
            "can be passed on as they are"
        )
    return ""


def problem_of_options(server: Mapping[str, Any], options: Mapping[str, Any], key: str) -> str:
    """What is wrong with the servers of single options, with its key; empty if nothing is.

    Args:
        server: the section ``server``.
        options: the options.
        key: their section.
    """
    launcher, urls = server["launcher"], server.get("urls", {})
    barred = ("backend",) * (launcher != "embedded") + OURS * (launcher == "external")
    for name, option in options.items():
        given = option.get("server", {})
        if option["serve"] == MODEL and "model" not in server:
            return (
                f"{key}.{name}.serve: {MODEL}: expected server.model, the model that somebody else "
                "serves"
            )
        if given and not option["serve"]:
            return f"{key}.{name}.server: expected none, for nothing is served"
        models = Option.from_config(name, option, server).models
        instances = given.get("instances")
        for model in instances if isinstance(instances, Mapping) else ():
            if model not in models:
                return (
                    f"{key}.{name}.server.instances.{model}: {name} does not use this model; "
                    f"expected those of {', '.join(m for m in models if m != ENSEMBLE)}"
                )
        for choice in barred:
            if choice in given:
                return (
                    f"{key}.{name}.server.{choice}: expected none, for it can't be chosen with "
                    f"server.launcher: {launcher}"
                )
        if "dynamic_batching" in given and option["serve"] != "fused":
            return (
                f"{key}.{name}.server.dynamic_batching: expected none, or serve: fused; "
                "requests to single stages are not joined"
            )
        if launcher == "external" and given.get("protocol", server["protocol"]) not in urls:
            return f"server.urls.{given['protocol']}: missing key; {key}.{name} needs it"
    return ""


def problem_of_batches(names: Sequence[str], options: Mapping[str, Any]) -> str:
    """What is wrong with the options of ``study_batch``, with their key; empty if nothing is.

    Args:
        names: of the options.
        options: the section ``options``.
    """
    for name in names:
        if name not in options:
            known = ", ".join(options)
            return f"study_batch.options: {name}: no such option; expected one of {known}"
        if options[name]["serve"] == MODEL:
            return (
                f"study_batch.options: {name}: somebody else's model takes one event; expected "
                "another option"
            )
    return ""


def problem_of_onnx(
    server: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]], key: str
) -> str:
    """What keeps a network in ONNX from being served: ONNX Runtime is called from Python.

    Args:
        server: the section ``server``.
        options: all options by their section, those of studies as well.
        key: of the network's file.
    """
    if server["launcher"] not in ("embedded", "external"):
        return (
            f"{key}: ONNX: the LibTorch of server.launcher: {server['launcher']} can't run it; "
            "expected server.launcher: embedded, or TorchScript"
        )
    chosen = {"server.backend": server["backend"]}
    for section, entries in options.items():
        for name, option in entries.items():
            chosen[f"{section}.{name}.server.backend"] = option.get("server", {}).get("backend")
    for where, backend in chosen.items():
        if backend == "native":
            return f"{where}: native can't run the ONNX of {key}; expected auto or python"
    return ""
