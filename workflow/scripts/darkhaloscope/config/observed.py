"""Observed lenses that the user brings: where they are, how they are fitted, and what is tried on them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from .base import FilePath, Name, Positive, Section, as_name, as_path
from .evidence import Kernels, Terms


class Fit(Section):
    """How the mass of an observed lens is found: pixels, priors, search."""

    bin: int = Field(2, ge=1, le=8, description="Side of the bins on arcs [pixels]; every pixel in them has a ray")
    dark_bin: int = Field(
        4, ge=1, le=16, description="Side of the bins where there is no light but the galaxy's [pixels], a multiple of `bin`"
    )
    coarse_bin: int = Field(
        3, ge=1, le=8, description="Side of the bins of the coarse image that is searched; twice that where there is no arc"
    )
    most_rays: int = Field(
        2500, ge=100, description="Where arcs have more pixels than this, bins have one ray each: time grows as its square"
    )
    extent: float = Field(
        1.9, gt=1, le=3, description="Pixels are used out to this many Einstein radii: beyond two, nothing has a second image"
    )
    theta_e: Positive = Field(0.12, description="Width of the normal prior of θ_E about the radius of the arcs, relative to it")
    slope: tuple[Positive, Positive] = Field(
        (2.08, 0.12), description="Mean and width of the prior of the slope of the mass (Auger et al. 2010: 2.08, 0.16)"
    )
    ellipticity: Positive = Field(0.12, description="Width of the prior of e1 and e2 about those of the light")
    centre_arcsec: Positive = Field(0.06, description="Width of the prior of the centre about that of the light [arcsec]")
    shear: Positive = Field(0.05, description="Width of the prior of each component of the shear")
    multipole: Positive = Field(0.01, description="Width of the prior of each component of the m = 3 and 4 multipoles, relative to θ_E")
    source_kernels: Kernels = Field(
        (((0.3, 0.25),), ((0.3, 0.5),), ((0.6, 0.5),), ((0.3, 1.0),), ((0.6, 1.0),), ((0.6, 2.0),)),
        description="Kernels of the source, [amplitude in units of the arcs' brightness, length in units of the source's size]; the evidence chooses",
    )
    source_extents: tuple[Positive, ...] = Field(
        (0.8, 1.6, 3.2),
        description="What sources are bright within: their amplitude falls as 1/(1 + β²/R²) about the middle of the light; the evidence chooses R, in units of the source's size",
        min_length=1,
    )
    start_kernel: Terms = Field(((0.5, 1.2),), description="Smooth kernel of the search on the coarse image", min_length=1)
    start_extent: Positive = Field(2.0, description="R of that search")
    start_noise: float = Field(4.0, ge=1, description="Factor on the variance of the coarse image in the first search")
    draws: int = Field(128, ge=8, le=4096, description="Lenses of the prior that are tried on the coarse image")
    theta_e_range: tuple[Positive, Positive] = Field(
        (0.65, 1.4), description="Range of θ_E of the search, relative to the radius of the arcs"
    )
    starts: int = Field(10, ge=2, description="Values of θ_E in that range; the best lens of each is climbed from")
    finalists: int = Field(
        4, ge=2, description="Different optima that are fitted with the noise that there is, and then on the image itself"
    )
    coarse_steps: int = Field(8, ge=1, description="Most Gauss–Newton steps on the coarse image")
    focus: float = Field(
        0.7,
        gt=0,
        le=1,
        description="A lens brings the arcs together: their median radius on the source plane is at most this share of that in the image; others are chosen where there is none",
    )
    first_steps: int = Field(2, ge=1, description="Steps of each finalist on the image itself; the best two go on")
    steps: int = Field(6, ge=1, description="Most Gauss–Newton steps on the image itself")
    enough: float = Field(
        0.3, ge=0, description="Fit no further where the next step promises less than this in the logarithm of the evidence"
    )
    converged: float = Field(2.0, gt=0, description="A fit has not converged where another step promises more than this")
    most_widths: float = Field(
        3.5, gt=0, description="A fit is flagged where a parameter is further than this from the mean of its prior, in widths"
    )
    good_chi2: float = Field(1.25, gt=1, description="χ² per pixel above which a fit is flagged")


class Subhalos(Section):
    """Which subhalos are looked for in observed lenses, and which are injected."""

    profile: Literal["pseudo_jaffe", "nfw"] = Field(
        "pseudo_jaffe",
        description="Profile of the halos: truncated isothermal spheres, as published subhalos are described, of total mass M; or NFW halos of M200",
    )
    log10_mass_msun: tuple[float, ...] = Field(
        (8.5, 9.0, 9.5, 10.0, 10.5), description="log₁₀ masses/M☉ that are mapped, increasing", min_length=2
    )
    searched_log10_mass_msun: float = Field(
        9.5, description="Mass of those whose map of z says where halos are fitted; their size is that of a halo of this mass"
    )
    concentration: Positive = Field(15.0, description="Concentration c200 of NFW halos")
    strength: Positive = Field(2.0, description="Width of the normal prior of a fitted halo's mass over the searched one, about none")
    coarse_noise: float = Field(
        4.0, ge=1, description="Factor on the variance of the coarse image, on which a halo is climbed to from places all over the arcs"
    )
    coarse_steps: int = Field(4, ge=1, description="Most Gauss–Newton steps of lens and halo on it")
    starts: int = Field(3, ge=1, description="The best of them that are fitted to the image itself, beside the best place of the map")
    finalists: int = Field(2, ge=1, description="The best of all these after a step on the image itself, which go on")
    smooth_steps: int = Field(3, ge=1, description="Most Gauss–Newton steps of the lens without a halo")
    steps: int = Field(5, ge=2, description="Most steps of lens and halo")
    place_step: int = Field(5, ge=1, le=20, description="Pixels between places that are tried, along rows and columns, on the arcs")
    controls: int = Field(8, ge=0, description="Draws of the fitted lens without a subhalo")
    injections: int = Field(3, ge=0, description="Injections of each mass into the observed image")
    injected_log10_mass_msun: tuple[float, ...] = Field((9.0, 9.5, 10.0), description="Masses that are injected, of those mapped")
    asked: dict[Name, tuple[tuple[float, float], ...]] = Field(
        {},
        description="Places of a lens that are asked about, such as of a published subhalo: from the galaxy's centre, to the right and up [arcsec]; each mass is injected at each of them, apart from the sample's injections",
    )
    threshold: float = Field(5.0, gt=0, description="z that counts as found in mass limits and completeness")

    @model_validator(mode="after")
    def _check(self) -> Subhalos:
        masses = self.log10_mass_msun
        if any(a >= b for a, b in pairwise(masses)):
            raise ValueError(f"log10_mass_msun must increase, found {list(masses)}")
        for key, chosen in (
            ("searched_log10_mass_msun", [self.searched_log10_mass_msun]),
            ("injected_log10_mass_msun", self.injected_log10_mass_msun),
        ):
            if strangers := sorted(set(chosen) - set(masses)):
                raise ValueError(f"{key} has {strangers}, which log10_mass_msun lacks: {list(masses)}")
        return self


class Observed(Section):
    """Observed lenses, through the model-based detector. A bare path is the folder."""

    path: FilePath | None = Field(
        None,
        description="Folder with a folder for each lens: image.fits, noise.fits or weight.fits, psf.fits; where it is given, its lenses are looked through in place of `run`",
    )
    name: Name | None = Field(None, description="Name of the folder of their results; left out, that of `path`")
    lenses: tuple[Name, ...] = Field((), description="Which of them; all where it is left out")
    pixel_scale_arcsec: Positive = Field(0.05, description="Side of a pixel [arcsec]")
    table: FilePath | None = Field(
        None, description="CSV, TSV or FITS table with z_lens, z_source and, to compare with, theta_e [arcsec] of the lenses"
    )
    name_column: str = Field("system_name", min_length=1, description="Its column of names")
    name_prefix: str = Field("", description="What its names have before those of the folders, such as `SDSS `")
    z_lens: Positive = Field(0.2, description="Redshift of lenses that the table lacks")
    z_source: Positive = Field(0.6, description="Redshift of sources that the table lacks")
    fit: Fit = Field(Fit(), description="How the mass is found")
    subhalos: Subhalos = Field(Subhalos(), description="What is looked for and injected")
    shown_arcsec: Positive = Field(6.0, description="Side of the maps in the tables and on the page [arcsec]")

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        return as_path(value)

    @property
    def folder(self) -> str:
        """Name of the folder of its results: `name`, or that of the folder of lenses."""
        plain = Path(self.path or "").resolve().name
        return self.name or as_name(plain) or "observed"

    @property
    def shown(self) -> int:
        """Pixels on a side of the maps, odd as those of the images mostly are."""
        return int(self.shown_arcsec / self.pixel_scale_arcsec) // 2 * 2 + 1
