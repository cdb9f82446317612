"""What a track finder found, against the truth: edges on the way, and tracks at the end.

Definitions after Exa.TrkX, Eur. Phys. J. C 81, 876 (2021),
https://doi.org/10.1140/epjc/s10052-021-09675-8, and the TrackML challenge, arXiv:1904.06778:

* True edge: two consecutive space points of one particle, in the order of its flight.
* Edge efficiency after building, filtering or gnn: true edges among the edges that the stage
  keeps / all true edges. Edge purity: true edges among them / edges that the stage keeps. The gnn
  keeps the edges whose score is not below the labeling's cut.
* Candidate: a track with at least three space points.
* Double majority: a candidate matches a particle if more than half of the candidate's space points
  come from the particle, and more than half of the particle's space points are in the candidate.
  Where several do, which needs tracks that share points, the one with most of the particle's
  points matches.
* Technical efficiency: particles that a candidate matches / particles of a population.
* Purity: candidates that match a particle / candidates. Any particle counts here.

What does not match is one of three, after the particle that made more than half of its points:

* Duplicate: another candidate matches that particle.
* Fragment: no candidate matches that particle.
* Fake: there is no such particle.

So candidates = matched + duplicates + fragments + fakes, and the three rates and the purity add up
to one.

The populations of particles (``populations``), each also for the decay products of the heavy
neutral lepton alone (``A_hnl``):

* ``A``: charged, pT > 0.5 GeV, at least 3 space points.
* ``B``: charged, pT > 1 GeV, ``|eta|`` < 3, at least 5 space points.
* ``all``: every particle, for true edges.

A method is a track finder: the tracks that it found, its times, and, where it builds a graph, the
edges; see ``Method``.
"""

from exatrkx_service.tracking.edges import EDGE_STAGES, found_edges
from exatrkx_service.tracking.matching import STATES, match_tracks, to_tracks
from exatrkx_service.tracking.method import (
    Method,
    MethodError,
    check_origin,
    read_method,
    read_tracks,
    read_truth,
)
from exatrkx_service.tracking.populations import POPULATIONS, in_populations

__all__ = [
    "EDGE_STAGES",
    "POPULATIONS",
    "STATES",
    "Method",
    "MethodError",
    "check_origin",
    "found_edges",
    "in_populations",
    "match_tracks",
    "read_method",
    "read_tracks",
    "read_truth",
    "to_tracks",
]
