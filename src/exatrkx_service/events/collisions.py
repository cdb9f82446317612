"""Proton-proton collisions with Pythia 8: heavy neutral leptons, top pairs and pile-up."""

from __future__ import annotations

import math

import numpy as np
import pythia8mc

from exatrkx_service.events.vertices import Collision, FinalParticle, Vertex

HNL_ID = 9910014  # 9900014, 18 and 1000014 are built-in resonances of Pythia: no cross-section
MASS_W_GEV = 80.385
MASS_MU_GEV = 0.10566
HNL_MASS_MIN_GEV = 4.0  # below it the quark channels are single hadrons, which Pythia cannot do
ABS_ETA_MAX = 4.0  # outside there is no sensor of the ACTS generic detector
RHO_MAX_MM = 1000.0  # radius of its outermost layer
ABS_Z_MAX_MM = 2950.0  # and half of its length
PROMPT_MM = 1e-3  # a decay closer than this belongs to the vertex its parent comes from
BEAM_SPOT_MM = (0.01, 0.01, 50.0)  # standard deviations in x, y, z, about those of the LHC
_PYTHIA_SEED_MAX = 900_000_000
_PHOTON = 22
_STREAMS = {"hard": 0, "pileup": 1, "beam_spot": 2}


class PhysicsError(ValueError):
    """The configured process is physically impossible, or Pythia refused it."""


def random_stream(seed: int, event_id: int, stream: str) -> np.random.Generator:
    """Random numbers for one purpose (hard, pileup, beam_spot) of one event.

    `numpy.random.SeedSequence` hashes the three numbers, so an event does not depend on the
    events before it and neighbouring seeds share nothing.
    """
    return np.random.default_rng([seed, event_id, _STREAMS[stream]])


def hnl_settings(mass_gev: float, ctau_mm: float) -> list[str]:
    """Pythia settings for pp -> W -> mu N, N -> mu W*, with a Majorana N that mixes with nu_mu.

    The charged-current channels have the branching ratios of the W at leading order: 1/9 per
    lepton flavour, 3/9 per quark doublet; channels that are kinematically closed drop out.
    ``meMode`` 23 and 94 weight the decays with the V-A matrix element.

    Raises:
        PhysicsError: the W cannot decay to mu N, or N is too light to hadronise its quarks.
    """
    if not HNL_MASS_MIN_GEV <= mass_gev < MASS_W_GEV - MASS_MU_GEV:
        raise PhysicsError(
            f"events.hnl.mass_gev: {mass_gev} GeV, expected at least {HNL_MASS_MIN_GEV:g} GeV and "
            f"below m_W - m_mu = {MASS_W_GEV - MASS_MU_GEV:.2f} GeV, as W -> mu N is on shell"
        )
    if not ctau_mm > 0:
        raise PhysicsError(f"events.hnl.ctau_mm: {ctau_mm} mm, expected more than 0")
    settings = [
        "WeakSingleBoson:ffbar2W = on",
        f"{HNL_ID}:new = N void 2 0 0 {mass_gev} 0 0 0 {ctau_mm}",
        f"{HNL_ID}:isResonance = false",
        f"{HNL_ID}:mayDecay = true",
        f"{HNL_ID}:tauCalc = false",
        "24:onMode = off",
        f"24:addChannel = 1 1.0 103 -13 {HNL_ID}",
        "24:onIfAny = 9910014",
    ]
    # (branching ratio, meMode, antifermion, fermion) of W*+; the muon of N comes last.
    for ratio, mode, antifermion, fermion in (
        (1 / 9, 23, -11, 12),
        (1 / 9, 23, -13, 14),
        (1 / 9, 23, -15, 16),
        (3 / 9, 94, -1, 2),
        (3 / 9, 94, -3, 4),
    ):
        for sign in (1, -1):
            products = f"{sign * antifermion} {sign * fermion} {sign * 13}"
            settings.append(f"{HNL_ID}:addChannel = 1 {ratio / 2} {mode} {products}")
    return settings


def _process_settings(config: dict) -> list[str]:
    process = config["process"]
    if process == "hnl":
        return hnl_settings(config["hnl"]["mass_gev"], config["hnl"]["ctau_mm"])
    if process == "ttbar":
        return ["Top:gg2ttbar = on", "Top:qqbar2ttbar = on"]
    raise PhysicsError(f"events.process: {process!r}, expected 'hnl' or 'ttbar'")


def _pythia(settings: list[str], sqrt_s_gev: float) -> pythia8mc.Pythia:
    pythia = pythia8mc.Pythia("", False)
    for line in [
        "Print:quiet = on",
        f"Beams:eCM = {sqrt_s_gev}",
        "Random:setSeed = on",
        "Random:seed = 1",  # of the initialisation; every event is seeded anew
        *settings,
    ]:
        if not pythia.readString(line):
            raise PhysicsError(f"Pythia 8 refused the setting {line!r}")
    if not pythia.init():
        raise PhysicsError(
            f"Pythia 8 could not be set up at events.sqrt_s_gev {sqrt_s_gev} with {settings}"
        )
    return pythia


class CollisionGenerator:
    """Makes events; event ``n`` depends on the configuration and ``n`` alone.

    Args:
        config: the ``events`` section of the configuration. Used are process, seed, sqrt_s_gev,
            pileup, pt_min_gev and hnl.

    Raises:
        PhysicsError: the process is impossible.
    """

    def __init__(self, config: dict) -> None:
        self._seed = config["seed"]
        self._pt_min = config["pt_min_gev"]
        self._mu = config["pileup"]
        self._beam_gev = config["sqrt_s_gev"] / 2
        if self._mu < 0:
            raise PhysicsError(f"events.pileup: {self._mu}, expected 0 or more")
        self._hard = _pythia(_process_settings(config), config["sqrt_s_gev"])
        self._soft = _pythia(["SoftQCD:inelastic = on"], config["sqrt_s_gev"]) if self._mu else None

    @property
    def beam_gev(self) -> float:
        """Energy of one beam [GeV]."""
        return self._beam_gev

    def event(self, event_id: int) -> list[Collision]:
        """The hard collision followed by Poisson(pileup) soft ones, over the beam spot.

        Collisions that leave nothing in the detector are left out.
        """
        spot = random_stream(self._seed, event_id, "beam_spot")
        collisions = [self._collision(self._hard, event_id, "hard", spot, reseed=True)]
        if self._soft is not None:
            for i in range(spot.poisson(self._mu)):
                collisions.append(
                    self._collision(self._soft, event_id, "pileup", spot, reseed=i == 0)
                )
        return [c for c in collisions if c.primary.particles or c.displaced]

    def _collision(
        self,
        pythia: pythia8mc.Pythia,
        event_id: int,
        stream: str,
        spot: np.random.Generator,
        *,
        reseed: bool,
    ) -> Collision:
        if reseed:
            random = random_stream(self._seed, event_id, stream)
            pythia.rndm.init(int(random.integers(1, _PYTHIA_SEED_MAX, endpoint=True)))
        for _ in range(100):  # Pythia gives up on a few events in a million
            if pythia.next():
                break
        else:
            raise RuntimeError(f"event {event_id}: Pythia 8 failed 100 times for one collision")
        return _collect(pythia.event, spot.normal(0.0, BEAM_SPOT_MM), self._pt_min)


def _collect(record: pythia8mc.Event, offset: np.ndarray, pt_min: float) -> Collision:
    """The simulated particles of a Pythia event record, moved to the collision's position.

    Kept are final charged particles and photons (which may convert) with pT of at least
    ``pt_min`` [GeV] that start inside the detector's volume and acceptance.
    """
    shift = tuple(map(float, offset))
    primary = Vertex((*shift, 0.0))
    displaced: dict[int, Vertex] = {}
    origins: dict[int, tuple[int, bool]] = {}
    for index in range(3, record.size()):
        p = record[index]
        if not p.isFinal() or not (p.isCharged() or p.id() == _PHOTON):
            continue
        if p.pT() < pt_min or abs(p.eta()) > ABS_ETA_MAX:
            continue
        start, from_hnl = _origin(record, index, origins)
        if start:
            parent = record[start]
            position = (parent.xDec(), parent.yDec(), parent.zDec(), parent.tDec())
            x, y, z = (a + b for a, b in zip(position, shift, strict=False))
            if math.hypot(x, y) > RHO_MAX_MM or abs(z) > ABS_Z_MAX_MM:
                continue
            vertex = displaced.setdefault(
                start, Vertex((x, y, z, position[3]), _particle(parent, False))
            )
        else:
            vertex = primary
        vertex.particles.append(_particle(p, from_hnl))
    return Collision(primary, list(displaced.values()))


def _origin(
    record: pythia8mc.Event, index: int, known: dict[int, tuple[int, bool]]
) -> tuple[int, bool]:
    """Where a particle comes from: (index of the displaced parent, HNL among its ancestors).

    The parent is the last ancestor that flew further than `PROMPT_MM` before it decayed, 0 if
    none did. ``known`` holds the answers of this event and is filled on the way; there is no
    recursion, as the copies that a parton shower leaves make chains of hundreds of ancestors.
    """
    chain = []
    while index not in known and index > 2:  # 0 is the whole event, 1 and 2 are the beams
        chain.append(index)
        index = record[index].mother1()
    origin = known.get(index, (0, False))
    for child in reversed(chain):
        parent = record[index]
        if index > 2:
            flight = math.dist(
                (parent.xProd(), parent.yProd(), parent.zProd()),
                (record[child].xProd(), record[child].yProd(), record[child].zProd()),
            )
            origin = (
                index if flight > PROMPT_MM else origin[0],
                origin[1] or parent.id() == HNL_ID,
            )
        known[child] = origin
        index = child
    return origin


def _particle(p: pythia8mc.Particle, from_hnl: bool) -> FinalParticle:
    return FinalParticle(p.id(), (p.px(), p.py(), p.pz(), p.e()), p.m(), from_hnl)
