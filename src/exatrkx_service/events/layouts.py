"""Headers of known kinds of CSV files, to say what a file that can't be used looks like."""

from __future__ import annotations

from dataclasses import dataclass

from exatrkx_service.events.files import BARCODE_COLUMNS, HNL_FILE

_SHOWN = 300  # characters of a header in a message
_BARCODE = " ".join(BARCODE_COLUMNS)
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}


@dataclass(frozen=True)
class Layout:
    """Columns by which a file is known.

    Attributes:
        name: what it is, for people.
        columns: names that its header has, separated by spaces.
        kind: which of an event's files it is (``files.EVENT_FILES``), None if it is none.
        exact: whether its header has no other columns.
    """

    name: str
    columns: str
    kind: str | None = None
    exact: bool = False

    def fits(self, names: list[str]) -> bool:
        """Whether a header is of this layout."""
        own = set(self.columns.split())
        return own == set(names) if self.exact else own <= set(names)


# The first that fits counts. Releases of ACTS: from Examples/Io/Csv/src/CsvOutputData.hpp in each.
LAYOUTS = (
    Layout(
        "the space points of ACTS since release 43.3",
        "measurement_id_1 measurement_id_2 x y z",
        "spacepoint",
    ),
    Layout(
        "the space points of ACTS before release 43.3, which had one measurement each",
        "measurement_id x y z var_r var_z",
        "spacepoint",
    ),
    Layout(
        "space points as the CsvSpacePointReader of ACTS takes them; CsvSpacePointWriter writes "
        "other columns",
        "measurement_id sp_x sp_y sp_z",
        "spacepoint",
    ),
    Layout("the measurements of ACTS", "measurement_id local_key local0 local1", "measurements"),
    Layout(
        "the map from measurements to hits of ACTS",
        "measurement_id hit_id",
        "measurement-simhit-map",
        exact=True,
    ),
    Layout("the cells of ACTS", "geometry_id channel0 channel1 value"),
    Layout("the hits of ACTS since release 44", f"{_BARCODE} geometry_id tx ty tz", "hits"),
    Layout(
        "the particles of ACTS since release 44",
        f"{_BARCODE} particle_type vx px q",
        "particles_simulated",
    ),
    Layout("the list of the HNL's decay products", f"{_BARCODE} particle_type", HNL_FILE, True),
    Layout(
        "the hits of ACTS before release 44, with a particle's id in one number",
        "particle_id geometry_id tx ty tz tpx",
        "hits",
    ),
    Layout(
        "the particles of ACTS before release 44, with a particle's id in one number",
        "particle_id particle_type process vx px q",
        "particles_simulated",
    ),
    Layout(
        "the clusters of the CsvPlanarClusterWriter, which ACTS had until release 34 and which "
        "kept the particles in a file truth",
        "hit_id geometry_id x y z t",
    ),
    Layout("the hits of TrackML", "hit_id x y z volume_id layer_id module_id"),
    Layout("the truth of TrackML", "hit_id particle_id tx ty tz weight"),
    Layout("the particles of TrackML", "particle_id vx px q nhits"),
    Layout("the cells of TrackML", "hit_id ch0 ch1 value"),
)


def kind_of(names: list[str]) -> str | None:
    """Which of an event's files (``files.EVENT_FILES``) has this header; None: not known."""
    return next((layout.kind for layout in LAYOUTS if layout.fits(names)), None)


def found_columns(names: list[str], wanted: str = "") -> str:
    """Says which columns a header has, and what its file looks like.

    Args:
        names: the header, divided at its commas.
        wanted: name of a column that was not found.
    """
    header = ",".join(names)
    shown = header if len(header) <= _SHOWN else header[:_SHOWN] + "…"
    guess = _guess(names, wanted)
    return f"found the columns {shown!r}" + (f": that looks like {guess}" if guess else "")


def _guess(names: list[str], wanted: str) -> str | None:
    known = next((layout.name for layout in LAYOUTS if layout.fits(names)), None)
    if known is not None:
        return known
    if 2 * sum(map(is_number, names)) > len(names):
        return "a file without a header"
    for name in names:
        if name != wanted and name.strip(" \t\"'").lower() == wanted:
            return f"{wanted} in quotes, with spaces or in capitals"
    for separator, called in _SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            return f"columns separated by {called}, not by commas"
    return None


def is_number(text: str) -> bool:
    """Whether a text is that of a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
