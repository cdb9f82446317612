"""Says in one line what of the environment is not as the lists say: run after pip."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def find_problem(lists):
    """The first package that is missing, of another version or from elsewhere; None if all fit."""
    lines = [line for path in lists for line in Path(path).read_text().splitlines()]
    for requirement in (Requirement(line) for line in lines if not line.startswith("#")):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            return f"{requirement.name} is missing"
        place = Path(found.locate_file("")).resolve()
        if not place.is_relative_to(Path(sys.prefix).resolve()):
            return f"{requirement.name} is in {place}, not in {sys.prefix}"
        if found.version.split("+")[0] not in requirement.specifier:
            return f"{requirement} is version {found.version}"
    return None


if __name__ == "__main__":
    problem = find_problem(sys.argv[1:])
    if problem:
        sys.exit(
            f"error: pip has made another environment than the lists name: {problem}; does a "
            "configuration file of pip (`pip config list`) say where to install?"
        )
