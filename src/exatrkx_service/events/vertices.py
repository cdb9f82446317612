"""The particles of one generated event by production vertex, and their HepMC3 text form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

_PROTON = 2212
_STATUS_FINAL, _STATUS_DECAYED, _STATUS_BEAM = 1, 2, 4


@dataclass(frozen=True)
class FinalParticle:
    """A stable particle that enters the detector simulation; momentum and energy in GeV."""

    pdg: int
    momentum: tuple[float, float, float, float]  # px, py, pz, E
    mass: float
    from_hnl: bool = False


@dataclass
class Vertex:
    """A point [mm] where particles start; ``parent`` is the particle that decayed there.

    Attributes:
        position: x, y, z and c*t [mm].
        parent: None for the collision itself.
        particles: stable particles that start here.
    """

    position: tuple[float, float, float, float]
    parent: FinalParticle | None = None
    particles: list[FinalParticle] = field(default_factory=list)


@dataclass
class Collision:
    """One proton-proton collision: its primary vertex and the displaced decays."""

    primary: Vertex
    displaced: list[Vertex] = field(default_factory=list)

    def vertices(self) -> Iterator[Vertex]:
        """The primary vertex, then the displaced ones."""
        yield self.primary
        yield from self.displaced


def barcodes(collisions: list[Collision]) -> Iterator[tuple[tuple[int, ...], FinalParticle]]:
    """The ACTS barcode of every particle.

    The five fields (vertex_primary, vertex_secondary, particle, generation, sub_particle) are
    counted as ActsExamples::HepMC3InputConverter counts them without merging of vertices:
    collisions from 1, displaced vertices from 1 in their collision (0 is the collision), and
    particles from 1 through all vertices of the collision.
    """
    for primary, collision in enumerate(collisions, start=1):
        particle = 0
        for secondary, vertex in enumerate(collision.vertices()):
            for final in vertex.particles:
                particle += 1
                yield (primary, secondary, particle, 0, 0), final


def write_hepmc3_header(file: TextIO) -> None:
    """Start a HepMC3 ASCII file.

    No run information (a ``W`` line) is written: with it, ACTS' ``skip`` lands one event late.
    """
    file.write("HepMC::Version 3.02.06\nHepMC::Asciiv3-START_EVENT_LISTING\n")


def write_hepmc3_footer(file: TextIO) -> None:
    """End a HepMC3 ASCII file."""
    file.write("HepMC::Asciiv3-END_EVENT_LISTING\n\n")


def write_hepmc3_event(
    file: TextIO, event_id: int, collisions: list[Collision], beam_gev: float = 0.0
) -> None:
    """Append one event in HepMC3 ASCII (A. Buckley et al., arXiv:1912.08005, appendix A).

    A collision is a vertex with two beam particles (status 4). From it come the stable particles
    (status 1) and then the decayed ones (status 2), each of which ends in a displaced vertex.
    The order is the one that `barcodes` counts in.

    Args:
        file: opened text file, after `write_hepmc3_header`.
        event_id: event number.
        collisions: the event; an empty list makes an empty event, as a placeholder.
        beam_gev: energy of one beam [GeV].
    """
    n_vertices = sum(1 + len(collision.displaced) for collision in collisions)
    lines: list[str] = []
    n_particles = 0
    n_vertex = 0

    def particle(parent: int, p: FinalParticle, status: int) -> int:
        nonlocal n_particles
        n_particles += 1
        momentum = " ".join(map(repr, p.momentum))
        lines.append(f"P {n_particles} {parent} {p.pdg} {momentum} {p.mass!r} {status}")
        return n_particles

    def vertex(parents: list[int], at: Vertex) -> int:
        nonlocal n_vertex
        n_vertex += 1
        incoming = ",".join(map(str, parents))
        lines.append(f"V {-n_vertex} 0 [{incoming}] @ {' '.join(map(repr, at.position))}")
        return -n_vertex

    for collision in collisions:
        beams = [
            particle(0, FinalParticle(_PROTON, (0.0, 0.0, pz, beam_gev), 0.93827), _STATUS_BEAM)
            for pz in (beam_gev, -beam_gev)
        ]
        primary = vertex(beams, collision.primary)
        for final in collision.primary.particles:
            particle(primary, final, _STATUS_FINAL)
        parents = [
            particle(primary, displaced.parent, _STATUS_DECAYED)
            for displaced in collision.displaced
        ]
        for parent, displaced in zip(parents, collision.displaced, strict=True):
            number = vertex([parent], displaced)
            for final in displaced.particles:
                particle(number, final, _STATUS_FINAL)
    file.write(f"E {event_id} {n_vertices} {n_particles}\nU GEV MM\n")
    if lines:
        file.write("\n".join(lines) + "\n")
