"""The mock archive's galaxies: what is drawn for each, and how each is observed.

Every parameter follows a simple law of nearby star-forming disks: a log-normal size, isotropic
inclinations within the ranking's limits, a Tully-Fisher relation for the rotation speed, bundles
chosen to reach 1.5 Re (the Primary sample, two thirds) or 2.5 Re. Every 28th galaxy plays the same
part again: eight of 28 are made to be rejected, each by another cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..core.random import stream
from .archive import rows_of

CRITICAL = 1 << 30
#: Plain disks rotate at least this fast along the line of sight, so that the lensability score lets them pass.
MIN_PROJECTED_KMS = 105
#: Plates that MaNGA never used: its own numbers end below 13000.
FIRST_PLATE = 99001
FIRST_REPEAT_PLATE = 99501
#: Fibres of a bundle: its diameter [arcsec], spaxels on a side of its maps, bundles of this size on a plate.
BUNDLES = {19: (12.5, 34, 2), 37: (17.5, 44, 4), 61: (22.5, 54, 4), 91: (27.5, 64, 2), 127: (32.5, 74, 5)}
#: Parts that galaxies play, by number modulo PERIOD; all others are plain disks.
PERIOD = 28
PARTS = {
    2: "faint",
    4: "merger",
    5: "counter-rotating",
    8: "dwarf",
    11: "compact",
    13: "warped",
    14: "overflowing",
    16: "merger",
    17: "critical DAP",
    20: "critical DRP",
    22: "edge-on",
    24: "wide",
    26: "patchy",
}
#: Galaxies observed twice, and one whose second observation the analysis could not finish, by number modulo PERIOD.
REPEATED = (1, 9, 18)
UNFINISHED = 6
#: What befell an observation, by number modulo PERIOD.
ACCIDENTS = {0: "unreliable spaxels", 3: "dead fibre", 7: "foreground star", 12: "unreliable spaxels", 15: "mathematical errors"}


@dataclass(frozen=True)
class MockGalaxy:
    """True parameters of one galaxy; angles in degrees, lengths in arcsec, speeds in km/s."""

    number: int
    mangaid: str
    part: str
    ra: float
    dec: float
    z: float
    log_mass: float
    inclination_deg: float
    #: East of north, towards the receding side.
    pa_deg: float
    re_arcsec: float
    v_max_kms: float
    turnover_arcsec: float
    v_sys_kms: float
    sigma0_kms: float
    #: Brightest spaxel of Hα at MaNGA's resolution [1e-17 erg/s/cm²/spaxel].
    peak_flux: float
    ha_scale_arcsec: float
    #: Depth of the central hole in Hα, 0 to 1.
    hole: float
    #: Share of the Hα light in clumps.
    clump_fraction: float
    n_clumps: int
    n_arms: int
    pitch_deg: float
    arm_contrast: float
    arm_phase_deg: float
    arm_streaming_kms: float
    #: Brightest spaxel of the g-band continuum [1e-17 erg/s/cm²/Å/spaxel].
    peak_continuum: float
    bulge_fraction: float
    bar_speed_kms: float
    bar_radius_arcsec: float
    bar_angle_deg: float
    radial_flow_kms: float
    #: Turn of the position angle per Re beyond 0.8 Re [deg].
    warp_deg: float
    #: Radius beyond which the disk rotates the other way; infinite in most.
    reversal_arcsec: float
    nii_ratio: float
    #: A merging companion: offset, speed offset, flux share and rotation; share 0 where there is none.
    companion_x_arcsec: float
    companion_y_arcsec: float
    companion_speed_kms: float
    companion_share: float
    companion_v_max_kms: float
    companion_pa_deg: float


@dataclass(frozen=True)
class Observation:
    """One galaxy seen through one bundle."""

    galaxy: MockGalaxy
    #: Row of the observation: keys its noise.
    row: int
    plate: int
    ifudesign: int
    n_fibres: int
    n_spaxels: int
    rfwhm_arcsec: float
    #: Noise relative to a typical nine-exposure cube.
    noise_factor: float
    ebv: float
    #: Axis ratio and position angle that the catalogue measured from the light.
    nsa_ba: float
    nsa_phi_deg: float
    drp3qual: int
    dapqual: int
    done: bool
    accident: str

    @property
    def plateifu(self) -> str:
        """Plate and bundle, as MaNGA writes them."""
        return f"{self.plate}-{self.ifudesign}"

    @property
    def diameter_arcsec(self) -> float:
        """Diameter of the bundle's hexagon [arcsec]."""
        return BUNDLES[self.n_fibres][0]


def draw_observations(n_galaxies: int, seed: int) -> list[Observation]:
    """Draw galaxies and the observations made of them.

    Parameters
    ----------
    n_galaxies : int
        Galaxies, each with its own MANGAID; a few are observed twice, so there are more observations.
    seed : int

    Returns
    -------
    list of Observation
        In the order of plate and bundle. A galaxy's parameters depend on its number and the seed alone.
    """
    used: dict[tuple[int, int], int] = {}
    observations = []
    for number in range(n_galaxies):
        galaxy = _draw_galaxy(number, seed)
        first = _observe(galaxy, 2 * number, FIRST_PLATE, used, seed)
        observations.append(first)
        if number % PERIOD in (*REPEATED, UNFINISHED):
            again = _observe(galaxy, 2 * number + 1, FIRST_REPEAT_PLATE, used, seed)
            # The catalogue measured the light once: both observations share it.
            again = replace(again, nsa_ba=first.nsa_ba, nsa_phi_deg=first.nsa_phi_deg, ebv=first.ebv)
            observations.append(replace(again, done=number % PERIOD != UNFINISHED))
    return sorted(observations, key=lambda o: (o.plate, o.ifudesign))


def _draw_galaxy(number: int, seed: int) -> MockGalaxy:
    """Draw a plain disk, then change what its part asks for."""
    rng = stream(seed, number, "mock galaxy")
    part = PARTS.get(number % PERIOD, "disk")
    re = float(np.clip(5.8 * math.exp(0.26 * rng.normal()), 3.6, 8.8))
    log_mass, inclination = _mass_and_inclination(rng)
    v_max = _rotation_speed(log_mass)
    bar = rng.random() < 0.35
    galaxy = MockGalaxy(
        number=number,
        mangaid=f"99-{900000 + number}",
        part=part,
        ra=float(rng.uniform(110, 250)),
        dec=float(rng.uniform(20, 55)),
        z=float(np.exp(rng.uniform(math.log(0.018), math.log(0.055)))),
        log_mass=log_mass,
        inclination_deg=inclination,
        pa_deg=float(rng.uniform(0, 360)),
        re_arcsec=re,
        v_max_kms=v_max,
        turnover_arcsec=re * float(rng.uniform(0.2, 0.45)),
        v_sys_kms=float(rng.normal(0, 12)),
        sigma0_kms=float(rng.uniform(17, 30)),
        peak_flux=float(np.clip(140 * 10 ** (0.25 * rng.normal()), 70, 600)),
        ha_scale_arcsec=re / 1.678 * float(rng.uniform(0.95, 1.3)),
        hole=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.25 else 0.0,
        clump_fraction=float(rng.uniform(0.2, 0.45)),
        n_clumps=int(rng.integers(25, 70)),
        n_arms=int(rng.choice([2, 2, 2, 3, 4])),
        pitch_deg=float(rng.uniform(12, 30)) * float(rng.choice([-1, 1])),
        arm_contrast=float(rng.uniform(0.5, 1.5)),
        arm_phase_deg=float(rng.uniform(0, 360)),
        arm_streaming_kms=float(rng.uniform(3, 11)),
        peak_continuum=float(np.clip(1.1 * 10 ** (0.18 * rng.normal()), 0.5, 2.5)),
        bulge_fraction=float(rng.uniform(0.02, 0.35)),
        bar_speed_kms=float(rng.uniform(20, 50)) if bar else 0.0,
        bar_radius_arcsec=re * float(rng.uniform(0.35, 0.7)),
        bar_angle_deg=float(rng.uniform(0, 180)),
        radial_flow_kms=float(rng.normal(0, 4)),
        warp_deg=float(rng.normal(0, 3)),
        reversal_arcsec=math.inf,
        nii_ratio=float(np.clip(0.36 + 0.15 * (log_mass - 10.3) + 0.04 * rng.normal(), 0.2, 0.55)),
        companion_x_arcsec=0.0,
        companion_y_arcsec=0.0,
        companion_speed_kms=0.0,
        companion_share=0.0,
        companion_v_max_kms=0.0,
        companion_pa_deg=0.0,
    )
    return replace(galaxy, **_part_changes(galaxy, rng))


def _mass_and_inclination(rng: np.random.Generator) -> tuple[float, float]:
    """Draw stellar mass and inclination until the projected rotation is what a ranked disk shows."""
    while True:
        log_mass = float(np.clip(10.35 + 0.35 * rng.normal(), 9.8, 11.0))
        inclination = math.degrees(math.acos(rng.uniform(0.36, 0.84)))
        if _rotation_speed(log_mass) * math.sin(math.radians(inclination)) > MIN_PROJECTED_KMS:
            return log_mass, inclination


def _rotation_speed(log_mass: float) -> float:
    """Stellar-mass Tully-Fisher relation, close to Reyes et al. 2011 (MNRAS 417, 2347) [km/s]."""
    return 168 * 10 ** (0.27 * (log_mass - 10.3))


def _part_changes(galaxy: MockGalaxy, rng: np.random.Generator) -> dict[str, float]:
    """Return the parameters that a galaxy's part overrides: those of `galaxy_parts.csv`, and what is drawn.

    Inner and outer rotation of the counter-rotating disk cancel in the slope of a plane, not in the spread of velocities. The
    wide one half overflows its bundle, and turns slowly: usable, but at the border.
    """
    match galaxy.part:
        case "merger":
            angle, distance = rng.uniform(0, 2 * math.pi), galaxy.re_arcsec * rng.uniform(0.9, 1.3)
            return {
                "companion_x_arcsec": float(distance * math.cos(angle)),
                "companion_y_arcsec": float(distance * math.sin(angle)),
                "companion_speed_kms": float(rng.choice([-1, 1]) * rng.uniform(50, 110)),
                "companion_share": float(rng.uniform(0.15, 0.3)),
                "companion_v_max_kms": float(rng.uniform(60, 110)),
                "companion_pa_deg": float(rng.uniform(0, 360)),
                "warp_deg": float(rng.choice([-1, 1]) * rng.uniform(6, 12)),
                "sigma0_kms": float(rng.uniform(32, 45)),
            }
        case "warped":
            return {"warp_deg": float(rng.choice([-1, 1]) * rng.uniform(14, 20))}
        case "faint":
            return {"peak_flux": float(rng.uniform(14, 30))}
        case "dwarf":
            return _FIXED["dwarf"] | {"v_max_kms": 62.0 / math.sin(math.radians(galaxy.inclination_deg))}
    return _FIXED.get(galaxy.part, {})


def _fixed_parameters() -> dict[str, dict[str, float]]:
    """Return what each part fixes; an axis ratio q stands for the inclination arccos q."""
    parts: dict[str, dict[str, float]] = {}
    for row in rows_of("galaxy_parts.csv"):
        values = {k: int(v) if k == "n_clumps" else float(v) for k, v in row.items() if v and k != "part"}
        if "axis_ratio" in values:
            values["inclination_deg"] = math.degrees(math.acos(values.pop("axis_ratio")))
        parts[row["part"]] = values
    return parts


_FIXED = _fixed_parameters()


def _observe(galaxy: MockGalaxy, row: int, first_plate: int, used: dict[tuple[int, int], int], seed: int) -> Observation:
    """Choose a bundle, and draw the conditions and what the pipelines made of them."""
    rng = stream(seed, row, "mock observation")
    reach = 1.5 if rng.random() < 2 / 3 else 2.5
    fixed = {"counter-rotating": 127, "compact": 127, "overflowing": 61, "wide": 61, "edge-on": 61, "dwarf": 37}
    wanted = [n for n, (diameter, _, _) in BUNDLES.items() if diameter / 2 >= reach * galaxy.re_arcsec]
    n_fibres = fixed.get(galaxy.part, max(wanted[0] if wanted else 127, 37))
    _, n_spaxels, per_plate = BUNDLES[n_fibres]
    index = used.get((first_plate, n_fibres), 0)
    used[first_plate, n_fibres] = index + 1
    q = math.cos(math.radians(galaxy.inclination_deg))
    return Observation(
        galaxy=galaxy,
        row=row,
        plate=first_plate + index // per_plate,
        ifudesign=100 * n_fibres + index % per_plate + 1,
        n_fibres=n_fibres,
        n_spaxels=n_spaxels,
        rfwhm_arcsec=float(np.clip(rng.normal(2.58, 0.08), 2.35, 2.85)),
        noise_factor=float(rng.uniform(0.85, 1.4)),
        ebv=float(rng.uniform(0.01, 0.08)),
        nsa_ba=float(np.clip(q + 0.015 * rng.normal(), 0.32 if q > 0.3 else 0.2, 0.88)),
        nsa_phi_deg=float((galaxy.pa_deg + rng.normal(0, 3)) % 180),
        # A failed reduction is normally also set in DAPQUAL; each flag stands alone here, so that each cut is tried.
        drp3qual=CRITICAL if galaxy.part == "critical DRP" else 0,
        dapqual=CRITICAL | (1 << 29) if galaxy.part == "critical DAP" else 0,
        done=True,
        accident=ACCIDENTS.get(galaxy.number % PERIOD, "none"),
    )
