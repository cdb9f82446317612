"""What was measured with what: recorded beside every job's samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from exatrkx_service import environment
from exatrkx_service.identity import CODE, INPUTS, OUTPUTS, code_digest, file_sha256
from exatrkx_service.machine import describe_commit, describe_machine, describe_software

OWN = "own"  # of a job: what differs from the configuration's sections


def collect(root: Path) -> dict[str, Any]:
    """Describes the machine, the software and the environment of this process.

    Args:
        root: folder of the git checkout of the workflow.

    Returns:
        ``machine``, ``software``, ``git_commit`` and ``git_commit_unknown``: see ``machine``;
        ``code_sha256``: digest of the code that decides what is measured; ``environment``: see
        ``environment.describe``.
    """
    return {
        **describe_commit(root),
        "code_sha256": code_digest(CODE),
        "machine": describe_machine(),
        "software": describe_software(),
        "environment": environment.describe(os.environ),
    }


def write(
    path: Path | str,
    inputs: Mapping[str, Any],
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    outputs: Iterable[Path | str],
) -> None:
    """Writes the provenance of a measuring job that runs in the checkout; the last of its files.

    Args:
        path: the file.
        inputs: of the job, see ``identity.identify``.
        config: the configuration.
        settings: of the job; what differs in its sections ``server`` and ``measure`` is recorded as
            ``job.own``, for an option may have a server of its own, and a study its loads.
        facts: what to know about the job.
        outputs: the other files that the job wrote; their digests tie them to this one, see
            ``identity.check_outputs``.
    """
    own = {
        section: {k: v for k, v in settings[section].items() if config[section].get(k) != v}
        for section in ("server", "measure")
        if section in settings
    }
    config, facts = dict(config), {**facts, OWN: {k: v for k, v in own.items() if v}}
    if config["server"]["launcher"] == "external":
        # What the server has is what it says itself: job.models.
        config["server"] = config["server"] | {"instances": None}
    record = collect(Path.cwd()) | {INPUTS: inputs, "config": config, "job": facts}
    record[OUTPUTS] = {Path(output).name: file_sha256(output) for output in outputs}
    Path(path).write_text(json.dumps(record, indent=1) + "\n")
