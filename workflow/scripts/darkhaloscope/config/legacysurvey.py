"""Legacy Surveys: where sweeps and bricks come from, how the parent sample is cut, which lenses are known."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from .base import Address, FilePath, Fraction, Name, Positive, Section

Band = Literal["g", "r", "i", "z"]
#: What the survey is, defined here alone: the bands of its stamps, its pixels [arcsec], and the AB zero point of its fluxes (nanomaggies).
BANDS = ("g", "r", "z")
PIXEL_SCALE_ARCSEC = 0.262
ZERO_POINT = 22.5
#: Bits of MASKBITS (DR10): 1 BRIGHT, 2–4 SATUR_G/R/Z, 5–7 ALLMASK_G/R/Z, 10 BAILOUT, 11 MEDIUM, 12 GALAXY, 13 CLUSTER.
MaskBit = Annotated[int, Field(ge=0, le=31)]
SweepName = Annotated[str, StringConstraints(pattern=r"^sweep-\d{3}[pm]\d{3}-\d{3}[pm]\d{3}$")]
#: DR10 cut its sweeps into boxes of this side; earlier releases used 10 degrees in right ascension.
SWEEP_SIDE_DEG = 5
#: Saturation, ALLMASK, BRIGHT and BAILOUT: the bits that speak of g, r and z pixels.
PIXEL_BITS = (1, 2, 3, 4, 5, 6, 7, 10)

#: What a mock survey brings: its sweep files, and below its base address the tables of lenses and of labelled objects.
MOCK_SWEEPS = ("sweep-150p000-155p005", "sweep-155p000-160p005")
MOCK_LENSES = "known-lenses.csv"
MOCK_LABELS = "labels.csv"
#: Its sample of sources in the COSMOS format: the catalogue that GalSim opens.
MOCK_SOURCES = "cosmos/real_galaxy_catalog_25.2_mock.fits"


class SweepBox(Section):
    """A box on the sky, all of whose sweep files are taken."""

    ra: tuple[int, int] = Field(description="Right ascension from and to [deg], multiples of 5")
    dec: tuple[int, int] = Field(description="Declination from and to [deg], multiples of 5")

    @model_validator(mode="after")
    def _check(self) -> SweepBox:
        for key, (low, high), least, most in (("ra", self.ra, 0, 360), ("dec", self.dec, -90, 90)):
            if low % SWEEP_SIDE_DEG or high % SWEEP_SIDE_DEG:
                raise ValueError(
                    f"{key} must begin and end at multiples of {SWEEP_SIDE_DEG} degrees, where sweep files do; found {low}, {high}"
                )
            if not least <= low < high <= most:
                raise ValueError(f"{key} must rise within {least} to {most} degrees; found {low}, {high}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sweep files, by declination, then right ascension."""

        def corner(ra: int, dec: int) -> str:
            return f"{ra:03d}{'m' if dec < 0 else 'p'}{abs(dec):03d}"

        side = SWEEP_SIDE_DEG
        return tuple(
            f"sweep-{corner(ra, dec)}-{corner(ra + side, dec + side)}" for dec in range(*self.dec, side) for ra in range(*self.ra, side)
        )


class LrgCuts(Section):
    """Cuts that make the parent sample of luminous red galaxies, in the order in which they are made."""

    dereddened: bool = Field(
        True,
        description="Whether magnitudes are corrected for Galactic extinction: from flux / MW_TRANSMISSION, or from the flux as observed",
    )
    min_nobs: int = Field(1, ge=1, description="Fewest exposures in each band at the object's position")
    excluded_types: tuple[str, ...] = Field(("PSF", "DUP"), description="Tractor TYPEs that are no galaxies")
    max_ebv: Positive = Field(0.1, description="E(B−V) stays below this [mag]")
    maskbits: tuple[MaskBit, ...] = Field(PIXEL_BITS, description="MASKBITS of the object that must all be clear")
    z_bright: float = Field(17.0, description="z is fainter than this [mag]")
    z_faint: float = Field(21.0, description="z is brighter than this [mag]")
    r_faint: float = Field(23.0, description="r is brighter than this [mag]")
    colour_slope: float = Field(0.8, description="z − W1 > slope × (r − z) + offset keeps stars out: the slope")
    colour_offset: float = Field(-0.6, description="z − W1 > slope × (r − z) + offset keeps stars out: the offset [mag]")

    @model_validator(mode="after")
    def _check(self) -> LrgCuts:
        if self.z_bright >= self.z_faint:
            raise ValueError(f"z_bright {self.z_bright:g} must be below z_faint {self.z_faint:g}")
        return self


class LensCatalogue(Section):
    """A table of known lenses."""

    path: FilePath = Field(description="CSV, TSV or FITS table, from the project's root")
    layout: Literal["lenscat", "masterlens", "stein", "own"] = Field(
        "lenscat",
        description="Columns of the file: those of lenscat, of the Master Lens Database, of Stein et al. (2021), or the ones that `columns` names",
    )
    columns: dict[Literal["name", "ra", "dec", "theta_e_arcsec", "grade", "source"], str] = Field(
        default_factory=dict, description="With layout `own`: the file's column for each of ours; ra and dec are required"
    )

    @model_validator(mode="after")
    def _check(self) -> LensCatalogue:
        if self.layout == "own" and not {"ra", "dec"} <= set(self.columns):
            raise ValueError("layout `own` needs `columns` with at least ra and dec")
        if self.layout != "own" and self.columns:
            raise ValueError(f"`columns` is for layout `own`; layout `{self.layout}` knows its columns")
        return self


class Labels(Section):
    """A table of objects whose kind is known, by position."""

    path: FilePath = Field(description="CSV, TSV or FITS table with columns ra, dec [deg] and class, from the project's root")
    radius_arcsec: Positive = Field(1.5, description="Label the nearest object within this [arcsec]")


class MockSky(Section):
    """Size of a mock survey."""

    bricks: int = Field(42, ge=1, le=378, description="Bricks in the mock survey")
    brick_size: int = Field(708, ge=140, le=3600, description="Pixels on a side of a mock brick (3600 in the real survey)")
    lens_fraction: Fraction = Field(0.04, description="Share of galaxies that are lenses, with arcs, and in the catalogue of known lenses")
    contaminant_fraction: Fraction = Field(
        0.2, description="Share of galaxies that are spirals, rings, edge-on disks, mergers or star artefacts"
    )
    imaging: dict[Literal["wide", "des", "cfhtls"], Fraction] = Field(
        {"wide": 0.667, "des": 0.333},
        description="Shares of bricks that are as sharp and deep as the wide survey (DECaLS), the Dark Energy Survey, or CFHTLS Wide; they add up to 1",
    )
    sources: int = Field(60, ge=1, le=1000, description="Galaxies in the mock's sample of sources in the COSMOS format")
    seed: int = Field(20, ge=0, description="The same seed gives the same bytes")

    @model_validator(mode="after")
    def _check(self) -> MockSky:
        if abs(sum(self.imaging.values()) - 1) > 1e-6:
            raise ValueError(f"imaging shares must add up to 1, found {sum(self.imaging.values()):g}")
        return self


class Survey(Section):
    """A Legacy Survey archive and what is taken from it."""

    base: Address = Field(
        "https://portal.nersc.gov/cfs/cosmo/data/legacysurvey/dr10/",
        pattern=r"^(https?|file|s3)://",
        description="Base address of the release: https://, http://, s3:// (bucket and folder) or file:// (a relative path after file:// starts at the working folder)",
    )
    mock: bool = Field(
        False,
        description="Whether this workflow makes the archive itself, as a mock below the results root; `base` and `sweeps` are then unused",
    )
    mock_sky: MockSky = Field(MockSky(), description="Size of the mock survey, when `mock` is set")
    sweeps: tuple[SweepName | SweepBox, ...] = Field(
        (SweepBox(ra=(150, 160), dec=(0, 10)),),
        min_length=1,
        description="Sweep files, by name without ending, or boxes {ra: [from, to], dec: [from, to]}",
    )
    bands: tuple[Band, ...] = Field(BANDS, min_length=1, description="Bands whose coadds are fetched; the stamps need g, r and z")
    stand_in: dict[Literal["z"], Literal["i"]] = Field(
        {},
        description="`z: i` makes stamps, and networks trained on them, of g, r and i: whatever the stamps call z is then i's, PSF, depth and magnitude among it; the parent sample is still cut in z",
    )
    lrg: LrgCuts = Field(LrgCuts(), description="Cuts of the parent sample")
    conditions: Literal["sweep", "bricks"] = Field(
        "sweep",
        description="Where PSF sizes come from: the sweep's PSFSIZE_* at the object, or the brick table's medians (for sweeps before DR9, which lack them)",
    )
    nside: int = Field(64, ge=1, le=8192, description="HEALPix resolution of the sky cells (nested); 64 is 55 arcmin")
    maskbits: tuple[MaskBit, ...] = Field(PIXEL_BITS, description="MASKBITS that make a pixel bad")
    max_bad_fraction: Fraction = Field(0.2, description="A cutout is not usable above this fraction of bad pixels in any one band")
    known_lenses: dict[Name, LensCatalogue] = Field(default_factory=dict, description="Catalogues of known lenses, by name")
    match_radius_arcsec: Positive = Field(3.0, description="An object within this of a known lens is that lens [arcsec]")
    labels: Labels | None = Field(None, description="Objects of known kind, for rates per class of contaminant")

    @model_validator(mode="after")
    def _check(self) -> Survey:
        names = self.sweep_names
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"sweeps names {', '.join(twice)} twice")
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands names one band twice: {', '.join(self.bands)}")
        if self.nside & (self.nside - 1):
            raise ValueError(f"nside must be a power of two, found {self.nside}")
        if self.stand_in and self.conditions == "bricks":
            raise ValueError("stand_in needs the sweep's PSFSIZE_I: set conditions to sweep")
        if self.stand_in and (lost := [band for band in self.sources if band not in self.bands]):
            raise ValueError(f"stand_in takes coadds of {', '.join(self.sources)}: bands lacks {', '.join(lost)}; set bands to [g, r, i]")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The band of the survey that each band of the stamps is taken from."""
        return tuple(self.stand_in.get(band, band) for band in BANDS)

    @property
    def sweep_names(self) -> list[str]:
        """Names of all sweep files, boxes spelled out."""
        return [name for item in self.sweeps for name in (item.names if isinstance(item, SweepBox) else (item,))]


class LegacySurvey(Section):
    """Everything from the Legacy Surveys: parent samples, bricks, known lenses."""

    surveys: dict[Name, Survey] = Field({"dr10": Survey()}, description="Named surveys, each from one archive")
    cache_gb: Positive = Field(200.0, description="Most disk space that the bricks of one survey may take; a further one is refused [GB]")
    keep_bricks: bool = Field(
        True, description="Whether bricks stay on disk; otherwise each is deleted after the last stamps of the run that need it"
    )
