"""MaNGA: where the galaxies come from, how they are ranked, judged and turned into sources."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from .base import Address, Fraction, GalaxyId, Name, Positive, Section

#: Side of a MaNGA spaxel, over which the published cuts are stated [arcsec].
SPAXEL_ARCSEC = 0.5
#: Pattern of MaNGA's names of observations.
PLATEIFU = r"\d{4,5}-\d{3,5}"


class Galaxies(Section):
    """Which galaxies of a sample are used: the top of the ranking, a list, or both, less those set aside."""

    n_top: int = Field(0, ge=0, description="Take this many galaxies from the top of the ranking")
    set_aside: tuple[GalaxyId, ...] = Field(
        (), description="Galaxies to pass over in the ranking, whatever their score; the next ones take their places"
    )
    listed: tuple[GalaxyId, ...] = Field(
        (), description="Galaxies to take whatever their rank, by the name of their observation (MaNGA: plate-ifu)"
    )
    use_rejected: tuple[GalaxyId, ...] = Field(
        (), description="Listed galaxies to use, with a warning, even when the lensability score rejects them"
    )

    @model_validator(mode="after")
    def _check(self) -> Galaxies:
        for key in ("set_aside", "listed", "use_rejected"):
            names = getattr(self, key)
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{key} names {', '.join(twice)} twice")
        both = sorted(set(self.set_aside) & set(self.listed))
        if both:
            raise ValueError(f"set_aside and listed both name {', '.join(both)}; take it out of one of them")
        strangers = sorted(set(self.use_rejected) - set(self.listed))
        if strangers:
            raise ValueError(f"use_rejected names {', '.join(strangers)}, which `listed` does not")
        if self.n_top == 0 and not self.listed:
            raise ValueError("no galaxy is asked for: set n_top above 0 or name galaxies in `listed`")
        return self


class Archive(Section):
    """Where the files of one data release are."""

    base: Address = Field(
        "https://data.sdss.org/sas/dr17/manga/spectro/",
        pattern=r"^(https?|file|s3)://",
        description="Base address of the archive: https://, http://, s3:// (bucket and folder) or file:// (a relative path after file:// starts at the working folder)",
    )
    ifu: Literal["manga", "plain"] = Field(
        "manga",
        description="What the files of maps are: MAPS files of MaNGA's archive, or the plain layout of docs/data-contracts.md (FITS or NPZ), one file per listed galaxy in the folder `base`, for any other instrument",
    )
    drp_version: Name = Field("v3_1_1", description="Data reduction version in the archive's paths")
    dap_version: Name = Field("3.1.0", description="Data analysis version in the archive's paths")
    daptype: Name = Field("HYB10-MILESHC-MASTARSSP", description="Binning and template set of the MAPS files")
    catalogs: bool = Field(
        True,
        description="Whether the archive has the catalogues dapall and drpall, which `n_top` ranks galaxies by; without them galaxies come from `listed` alone. Redshift and axis ratio of a galaxy come from the header of its maps (SCINPVEL, ECOOELL) either way",
    )
    mock: bool = Field(
        False, description="Whether this workflow makes the archive itself, as a mock below the results root; `base` is then unused"
    )
    mock_galaxies: int = Field(28, ge=24, le=500, description="Galaxies in the mock archive, when `mock` is set")


class Sample(Archive):
    """A set of galaxies from one archive and one data release."""

    galaxies: Galaxies = Field(Galaxies(n_top=50), description="Which galaxies are used")

    @model_validator(mode="after")
    def _check(self) -> Sample:
        if not self.catalogs and self.galaxies.n_top:
            raise ValueError("n_top needs the catalogues: set `catalogs: true`, or n_top to 0 and name galaxies in `listed`")
        if self.ifu != "manga":
            if self.catalogs or self.mock:
                raise ValueError(f"ifu `{self.ifu}` has no catalogues and no mock archive: set `catalogs: false` and `mock: false`")
            return self
        named = (*self.galaxies.set_aside, *self.galaxies.listed)
        if wrong := [name for name in named if not re.fullmatch(PLATEIFU, name)]:
            raise ValueError(f"galaxies of MaNGA are named by plate-ifu such as 8593-12705, found {', '.join(wrong)}")
        return self


class Ranking(Section):
    """Cuts and weights that rank rotating disks from the catalogues alone."""

    ba_min: Fraction = Field(0.3, description="Smallest axis ratio b/a")
    ba_max: Fraction = Field(0.9, description="Largest axis ratio b/a")
    re_min_arcsec: float = Field(2.0, ge=0, description="Smallest effective radius [arcsec]")
    sigma_min_kms: float = Field(10.0, ge=0, description="Smallest Hα dispersion within 1 Re [km/s]")
    inclination_weight: float = Field(0.7, ge=0, description="Weight of the inclination term")
    inclination_centre_deg: float = Field(55.0, ge=0, le=90, description="Preferred inclination [deg]")
    inclination_width_deg: float = Field(20.0, gt=0, description="Width of the inclination term [deg]")
    sigma_weight: float = Field(0.5, description="Weight of the dispersion term")
    sigma_floor_kms: float = Field(5.0, gt=0, description="Dispersions below this count as this [km/s]")

    @model_validator(mode="after")
    def _check(self) -> Ranking:
        if self.ba_min >= self.ba_max:
            raise ValueError(
                f"no galaxy has an axis ratio above ba_min {self.ba_min:g} and below ba_max {self.ba_max:g}: set ba_min below ba_max"
            )
        return self


#: The cuts were published per MaNGA spaxel; see `ifu.quality.measure_quality`.
GRADIENT = "{} this slope of the velocity plane [km/s per 0.5 arcsec for MaNGA, a spaxel as published; km/s per tenth of R_e for other instruments, the same at R_e = 5 arcsec]"
PEAK_FLUX = "{} this peak flux [1e-17 erg/s/cm² per 0.25 arcsec², a MaNGA spaxel as published]; where the flux has another unit {}"


class Quality(Section):
    """How a file of maps is read and when its maps are flagged."""

    line: str = Field(
        "Ha-6564",
        description="Emission line whose flux and velocity are used, by its name in the MAPS header; a file in the plain layout has one line, which it names",
    )
    velocity: Literal["gas", "stellar"] = Field("gas", description="Kinematics channel: gas velocity of the line, or stellar velocity")
    min_vel_grad: float = Field(2.0, ge=0, description=GRADIENT.format("Flag low rotation below"))
    max_mask_fraction: Fraction = Field(
        0.7,
        description="Flag heavily masked above this fraction of invalid velocity spaxels: of the whole square for MaNGA, as published, of the spaxels within the outline of the measured ones elsewhere",
    )
    min_flux_max: float = Field(5.0, ge=0, description=PEAK_FLUX.format("Flag low flux below", "its peak signal-to-noise must be 5"))


class Step(Section):
    """One step of a scoring ladder: at or past `bound`, `points`."""

    bound: float = Field(description="Where the step begins")
    points: float = Field(description="Points it gives")


def _ladder(*steps: tuple[float, float]) -> tuple[Step, ...]:
    return tuple(Step(bound=b, points=p) for b, p in steps)


class Lensability(Section):
    """Hard cuts (which carry the science) and points (which only order galaxies), 0 to 100."""

    min_frac_valid_in_1p5re: Fraction = Field(0.60, description="Reject below this valid fraction inside 1.5 Re")
    min_vel_grad: float = Field(2.5, ge=0, description=GRADIENT.format("Reject below"))
    max_mask_fraction: Fraction = Field(0.70, description="Reject above this fraction of invalid velocity spaxels")
    min_flux_max: float = Field(50.0, ge=0, description=PEAK_FLUX.format("Reject below", "it is not compared"))
    min_vel_std: float = Field(50.0, ge=0, description="Reject below this spread of velocities [km/s]")
    vel_grad: tuple[Step, ...] = Field(_ladder((5, 30), (3, 22), (0, 12)), description="Points for the velocity gradient, at or above")
    frac_valid_in_1p5re: tuple[Step, ...] = Field(
        _ladder((0.90, 30), (0.80, 24), (0, 16)), description="Points for the valid fraction inside 1.5 Re, at or above"
    )
    vel_std: tuple[Step, ...] = Field(_ladder((120, 20), (70, 14), (0, 8)), description="Points for the spread of velocities, at or above")
    mask_fraction: tuple[Step, ...] = Field(
        _ladder((0.40, 10), (0.60, 6), (1, 2)), description="Points for the masked fraction, at or below"
    )
    flux_max: tuple[Step, ...] = Field(_ladder((200, 5), (100, 3), (0, 1)), description="Points for the peak flux, at or above")
    abs_flux_vel_corr: tuple[Step, ...] = Field(
        _ladder((0.20, 3), (0.40, 0), (1, -5)), description="Points for |Pearson r| of flux and velocity, at or below"
    )
    elite: float = Field(80, description="Tier elite from this score")
    good: float = Field(60, description="Tier good from this score")
    borderline: float = Field(40, description="Tier borderline from this score; below it, reject")

    @model_validator(mode="after")
    def _check(self) -> Lensability:
        if not self.elite >= self.good >= self.borderline:
            raise ValueError(
                f"tiers are out of order: elite from {self.elite:g}, good from {self.good:g}, borderline from {self.borderline:g}; each must be at or above the next"
            )
        return self


class Tensor(Section):
    """How maps become the 64 × 64 source tensor."""

    size: int = Field(64, ge=16, le=256, description="Pixels on a side of the source tensor")
    flux_percentiles: tuple[float, float] = Field((5.0, 99.5), description="Percentiles of valid flux that become 0 and 1")
    velocity_percentile: float = Field(95.0, gt=0, le=100, description="Percentile of |v − median| that becomes 1")

    @model_validator(mode="after")
    def _check(self) -> Tensor:
        low, high = self.flux_percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"flux_percentiles must be two increasing percentiles between 0 and 100, found {list(self.flux_percentiles)}")
        return self


#: The project's canonical galaxies: the hero and its supporting set. 12071-12702 is among those that the score rejects,
#: so it is used only where `use_rejected` names it.
CANONICAL = ("8593-12705", "8993-12705", "8652-12703", "12071-12702", "10500-12703")
#: Set aside by the project as patchy, although their scores are good or elite.
PATCHY = ("9487-9102", "11982-9102", "11013-6101")


class Manga(Section):
    """Everything from the MaNGA archive to the bank of sources."""

    samples: dict[Name, Sample] = Field(
        {"dr17": Sample(galaxies=Galaxies(n_top=50, set_aside=PATCHY, listed=CANONICAL))},
        description="Named sets of galaxies, each from one archive",
    )
    ranking: Ranking = Field(Ranking(), description="Ranking of the catalogue")
    quality: Quality = Field(Quality(), description="Reading and flagging of maps")
    lensability: Lensability = Field(Lensability(), description="Lensability score")
    tensor: Tensor = Field(Tensor(), description="Source tensors")


class Downloads(Section):
    """How files are fetched."""

    retries: int = Field(6, ge=0, description="Further attempts after a failed one")
    first_pause_s: float = Field(2.0, ge=0, description="Pause before the second attempt; doubles each time [s]")
    timeout_s: Positive = Field(60.0, description="Give up an attempt after this long without a byte [s]")
    max_parallel: int = Field(4, ge=1, description="Downloads at a time over the whole run")
