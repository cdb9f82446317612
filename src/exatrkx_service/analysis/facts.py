"""What a reader asks first: which code ran, on what, and when; as the jobs recorded it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

NOT_KNOWN = "not known"


def run_facts(provenance: dict[str, Any], *, needs_server: bool) -> dict[str, str]:
    """The facts by their name, in the order of the report; what is not recorded is 'not known'.

    Args:
        provenance: ``common``, ``differs`` and ``jobs``, see ``checks.combine_provenance``.
        needs_server: whether any option serves a stage.
    """
    gpu = recorded(provenance, "machine.gpu")
    if gpu == NOT_KNOWN and recorded(provenance, "machine.cpu") != NOT_KNOWN:
        gpu = "none found"  # the machine was looked at
    server = recorded(provenance, "job.server", lambda version: f"Triton {version}")
    if server == NOT_KNOWN and not needs_server:
        server = "none was needed"
    networks = recorded(provenance, "job.networks")
    launcher = recorded(provenance, "config.server.launcher")
    # Of somebody else's server the machine is not known: what is known is that of its clients.
    of = ", of the clients" if launcher == "external" else ""
    return {
        "Commit": recorded(provenance, "git_commit", _commit),
        "First to last job began (UTC)": time_span(provenance["jobs"]),
        f"CPU{of}": recorded(provenance, "machine.cpu"),
        f"Cores{of}": recorded(provenance, "machine.cores"),
        f"GPU{of}": gpu,
        "Device": recorded(provenance, "job.device"),
        "Kernels": recorded(provenance, "job.kernels"),
        "Server": server,
        "Server's launcher": launcher,
        "Networks served by": networks,
        "Protocol": _protocol(provenance),
        "Model instances": model_settings(provenance, "instances"),
    }


def model_settings(provenance: dict[str, Any], key: str) -> str:
    """What the servers said of a setting of their models: '1', or '1, 4' where they differ."""
    found = set()
    for model, settings in provenance["common"].get("job", {}).get("models", {}).items():
        found |= {settings.get(key)} if isinstance(settings, dict) and model else set()
    for name, jobs in provenance["differs"].items():
        if name.startswith("job.models.") and name.endswith(f".{key}"):
            found |= set(jobs.values())
    values = sorted(value for value in found if value is not None)
    return ", ".join(map(str, values)) or NOT_KNOWN


def recorded(provenance: dict[str, Any], key: str, show: Callable[[Any], str] = str) -> str:
    """A value of the provenance as text.

    Args:
        provenance: ``common`` and ``differs``, see ``checks.combine_provenance``.
        key: dotted.
        show: gives the text of one value.

    Returns:
        The text of the value that is common to all jobs; each with its jobs where they differ.
    """
    if key in provenance["differs"]:
        return "; ".join(_with_jobs({j: show(v) for j, v in provenance["differs"][key].items()}))
    value = provenance["common"]
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return NOT_KNOWN if value is None else show(value)


def time_span(jobs: dict[str, dict[str, Any]]) -> str:
    """When the first and the last job began, in UTC: '2026-11-27 19:29 to 19:32'.

    Args:
        jobs: of each job ``job.began``, ISO 8601 with its offset.
    """
    began = [record["job.began"] for record in jobs.values() if record.get("job.began")]
    if not began:
        return NOT_KNOWN
    times = sorted(datetime.fromisoformat(text).astimezone(UTC) for text in began)
    first, last = times[0], times[-1]
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    text = f"{first:%Y-%m-%d %H:%M} to {end}"
    missing = len(jobs) - len(began)
    return f"{text}; {NOT_KNOWN} of {missing} of {len(jobs)} jobs" if missing else text


def _with_jobs(values: dict[str, str]) -> list[str]:
    """Each text once, with the jobs that have it."""
    jobs: dict[str, list[str]] = {}
    for job, text in values.items():
        jobs.setdefault(text, []).append(job)
    return [f"{text} ({', '.join(names)})" for text, names in jobs.items()]


def _protocol(provenance: dict[str, Any]) -> str:
    """That of the configuration, and those of options with a server of their own."""
    key = "job.own.server.protocol"
    own = {job: record[key] for job, record in provenance["jobs"].items() if key in record}
    return "; ".join([recorded(provenance, "config.server.protocol"), *_with_jobs(own)])


def _commit(commit: str) -> str:
    changed = commit.removesuffix("-dirty") != commit
    return f"{commit}: with uncommitted changes" if changed else commit
