"""Which backend serves the models of the embedded server: the native one, or Python's.

The server of nvidia-pytriton has no LibTorch backend, but its library exports the interface of
one. ``backends/pytorch/native`` is one in C++, against the libraries of the installed torch; where
no compiler is found the Python-based backend beside it serves the networks. Which one it is, is
decided once for a model repository and stands in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exatrkx_service.compiled import (
    BACKEND,
    NotCompiled,
    load_alone,
    made_by,
    make,
    torch_version,
)
from exatrkx_service.serving import embedded
from exatrkx_service.serving.health import ServerError

CHOICE = "backend.json"  # in a model repository: what serves its networks
# Loads a library as the server would, with all that it asks for.
_LOAD = "import ctypes, sys; [ctypes.CDLL(name, ctypes.RTLD_GLOBAL) for name in sys.argv[1:]]"


def choose_backend(
    destination: Path, wanted: str, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Decides what serves the networks of the embedded server, and compiles it if need be.

    Args:
        destination: JSON file that gets the decision, ``CHOICE`` in a model repository.
        wanted: ``server.backend``: ``auto``, ``native`` or ``python``.
        say: told what is done.

    Returns:
        ``backend``: ``native`` or ``python``; of the first also ``library``, its file, and
        ``compiler`` and ``torch``, what it was made with; of the other ``reason``.

    Raises:
        NotCompiled: ``native`` is wanted, and can't be had.
    """
    if wanted == "python":
        choice = {"backend": "python", "reason": "server.backend: python"}
    else:
        try:
            library = make(BACKEND, say, _check)
            made_with = {"compiler": made_by(library), "torch": torch_version()}
            choice = {"backend": "native", "library": str(library)} | made_with
        except NotCompiled as error:
            if wanted == "native":
                raise NotCompiled(f"server.backend: native: {error}") from None
            choice = {"backend": "python", "reason": str(error)}
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text(json.dumps(choice, indent=1) + "\n")
    return choice


def read_choice(model_repository: Path) -> dict[str, Any]:
    """What was decided for a model repository; the Python-based backend where nothing was.

    Raises:
        ServerError: the library is gone, or was made for another torch.
    """
    path = Path(model_repository) / CHOICE
    if not path.is_file():
        return {"backend": "python", "reason": f"no {CHOICE} in the model repository"}
    choice = json.loads(path.read_text())
    if choice["backend"] == "native":
        again = "`snakemake export --forcerun compile_libraries` makes it anew"
        if not Path(choice["library"]).is_file():
            raise ServerError(f"{choice['library']}: no such file, named in {path}; {again}")
        if choice["torch"] != torch_version():
            raise ServerError(
                f"{path}: the native backend was made for torch {choice['torch']}, installed is "
                f"{torch_version()}; {again}"
            )
    return choice


def describe(choice: dict[str, Any]) -> str:
    """What serves the networks, in words."""
    if choice["backend"] == "native":
        return f"native backend, of torch {choice['torch']}, by {choice['compiler']}"
    return f"Python-based backend ({choice['reason']})"


def _check(library: Path) -> None:
    """Loads the backend once, with the library of the server.

    Raises:
        NotCompiled: it can't be loaded.
    """
    try:
        server = next(embedded.libraries().glob("libtritonserver*.so*"), None)
    except ServerError as error:
        raise NotCompiled(str(error)) from None
    if server is None:
        raise NotCompiled(f"{embedded.libraries()}: no libtritonserver; expected it there")
    load_alone(_LOAD, server, library, library_path=embedded.library_path())
