"""An experiment: detectors of one dataset, scored on others, and judged by strata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from .base import FilePath, Fraction, Name, Positive, Section
from .columns import SKY_CELLS


class Stratum(Section):
    """How a column is cut into strata: by edges, by quantiles, or as categories (neither)."""

    edges: tuple[Annotated[float, Field(allow_inf_nan=True)], ...] | None = Field(
        None, description="Increasing bin edges; values outside belong to no stratum", min_length=2
    )
    quantiles: int | None = Field(None, ge=2, le=50, description="Number of equally filled bins")
    of_positives: bool = Field(
        False, description="Whether positives alone have the column, so that every stratum is judged against all negatives"
    )
    of_controls: bool = Field(
        False, description="Whether controls alone have the column, so that every stratum is judged against all positives"
    )

    @model_validator(mode="after")
    def _check(self) -> Stratum:
        if self.edges is not None and self.quantiles is not None:
            raise ValueError("give edges or quantiles, not both")
        if self.of_positives and self.of_controls:
            raise ValueError("give of_positives or of_controls, not both")
        if self.edges is not None and not _increase(self.edges):
            raise ValueError(f"edges must increase: {list(self.edges)}")
        return self


def _increase(edges: tuple[float, ...]) -> bool:
    return all(a < b for a, b in pairwise(edges))


SUBHALO_STRATA = {
    "subhalo_profile": Stratum(),
    "mass_bin": Stratum(),
    "theta_e_arcsec": Stratum(edges=(0.8, 0.9, 1.0, 1.1, 1.2)),
    "theta_over_psf": Stratum(quantiles=3),
    "peak_snr": Stratum(edges=(10, 15, 20, 30)),
    "arc_snr_matched": Stratum(quantiles=4),
    "subhalo_arc_distance_arcsec": Stratum(edges=(0.0, 0.1, 0.2, 0.5)),
    "source_kind": Stratum(),
    "galaxy_id": Stratum(),
}

#: What positives alone have is judged against all controls, what controls alone have against all positives; what both classes have,
#: against its own. θ_E over PSF from 0.5 is resolved.
LENSFINDER_STRATA = {
    "theta_e_arcsec": Stratum(edges=(0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5), of_positives=True),
    "theta_over_psf": Stratum(edges=(0, 0.5, 1.0, 1.5, 1e9), of_positives=True),
    "arc_snr": Stratum(edges=(0, 1, 3, 10, 50, 1e9), of_positives=True),
    "source_kind": Stratum(of_positives=True),
    "contaminant_class": Stratum(of_controls=True),
    "psfsize_r": Stratum(quantiles=3),
    "psfdepth_r": Stratum(quantiles=3),
    "mag_r": Stratum(quantiles=3),
}


#: A lens is resolved where its Einstein radius is at least this many FWHM of the PSF.
RESOLVED = 0.5
#: The lens finder's criterion: at most this FPR, at this completeness on resolved lenses.
CRITERION_FPR, CRITERION_TPR = 1e-3, 0.8


class ShortcutGates(Section):
    """Limits of the gates that find networks which tell lenses from controls by something other than arcs."""

    stamps: int = Field(2000, ge=0, description="Test stamps of the lens finder that the gates look at; 0 leaves the gates out")
    core_radius_arcsec: Positive = Field(0.8, description="Radius within which only the galaxy's core is shown [arcsec]")
    max_core_auc: Fraction = Field(0.76, description="Largest AUC of the network when only the core is shown")
    match_tolerance: Positive = Field(
        0.1,
        description="Largest difference of a positive and its matched control in the asinh of the flux of all bands, in standard deviations",
    )
    max_matched_loss: Fraction = Field(0.02, description="Largest loss of AUC against controls of equal brightness")
    ring_radius_arcsec: Positive = Field(1.5, description="Radius of the ring that is pasted on controls [arcsec]")
    ring_width_arcsec: Positive = Field(0.5, description="Gaussian σ of the ring's profile [arcsec]")
    ring_flux: Positive = Field(0.1, description="Flux of the ring over that of the stamp, the same in every band")
    max_ring_share: Fraction = Field(0.5, description="Largest share of controls that pass at FPR 0.05 once they have the ring")
    max_removed_auc: Fraction = Field(
        0.6, description="Largest AUC of positives whose arcs were taken away again, or 1 less it where they score below controls"
    )
    max_null_share: Fraction = Field(0.1, description="Largest share of bare hosts, arcs of no flux injected, that pass at FPR 0.05")
    max_colour_share: Fraction = Field(
        0.15, description="Largest share of controls that pass at FPR 0.05 once their cores have the colours of the positives' cores"
    )
    noise_factor: float = Field(2.0, gt=1, description="Noise that controls are given, over their own")
    max_noise_share: Fraction = Field(0.15, description="Largest share of controls that pass at FPR 0.05 once they have that noise")
    max_real_loss: Fraction = Field(
        0.25, description="Largest 1 − AUC of real lenses against real look-alikes, where the dataset names some in `real_sky`"
    )
    max_real_missed: Fraction = Field(
        0.5, description="Largest share of these real lenses that is missed where 1% of the test controls pass"
    )
    max_probe_auc: Fraction = Field(
        0.85, description="Largest AUC with which a linear probe of the network's features tells real lenses from injected ones"
    )
    max_frechet: Positive = Field(
        0.5,
        description="Largest squared Fréchet distance of real lenses from injected ones in the network's features, in units of the injected ones' variance and less that of random halves",
    )


SUBHALO_SURFACES = (("log10_mass_msun", "peak_snr"),)
LENSFINDER_SURFACES = (
    ("theta_e_arcsec", "psfsize_r", "psfdepth_r"),
    ("theta_e_arcsec", "arc_snr"),
    ("theta_over_psf", "mag_r"),
)
#: What the stamps of a chain share: the source's galaxy (one observed twice has one physical_id); host, source and place on the sky.
SUBHALO_CLUSTERS = ("physical_id",)
LENSFINDER_CLUSTERS = ("object_id", "source_id", "region_id", "brickname")


class Evaluation(Section):
    """Rates, strata and intervals."""

    fprs: tuple[float, ...] = Field(
        (0.05, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6), description="False-positive rates at which the true-positive rate is given"
    )
    tprs: tuple[float, ...] = Field(
        (0.5, 0.8, 0.9, 0.95, 0.99), description="True-positive rates at which the false-positive rate is given"
    )
    false_positives: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 10), description="Numbers of false positives at which the true-positive rate is given"
    )
    prevalences: tuple[float, ...] = Field(
        (1e-2, 1e-3, 1e-4), description="Shares of positives among all objects for which the purity (precision) is given"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence level of every interval")
    bootstrap: int = Field(500, ge=50, description="Bootstrap resamples")
    min_expected_fp: float = Field(10.0, gt=0, description="A rate with fewer expected false positives is unresolved and not printed")
    clusters: tuple[str, ...] = Field(
        SUBHALO_CLUSTERS,
        description="Columns whose values make clusters of stamps that are resampled together, each column by itself; `healpix-N` takes "
        "the sky cells at nside N of `ra` and `dec`; left out, experiments on the lens finder's stamps take columns of theirs",
    )
    min_clusters: int = Field(20, ge=2, description="A bootstrap over clusters needs at least this many of them in each class")
    d_prime_edges: tuple[float, ...] = Field(
        (0, 1, 2, 3, 5, 10, 20, 50, 1e9), description="Increasing edges of the bins of the ideal observer's d′", min_length=2
    )
    strata: dict[str, Stratum] = Field(
        SUBHALO_STRATA,
        description="Columns that define strata, and how each is cut, laid by name over the default list of the kind of stamps; null leaves one out",
    )
    default_strata: bool = Field(
        True, description="Whether strata that `strata` does not name are those of the default list; false leaves them out"
    )
    pairs: tuple[tuple[str, str], ...] = Field((), description="Pairs of columns of `strata` whose cells are strata, too")
    surfaces: tuple[tuple[str, ...], ...] = Field(
        SUBHALO_SURFACES,
        description="Two or three columns each, over which completeness is mapped; left out, experiments on the lens finder's stamps take columns of theirs",
    )
    surface_bins: int = Field(4, ge=2, le=20, description="Cells along a column of a surface that has no edges in `strata`")
    shortcuts: ShortcutGates = Field(ShortcutGates(), description="Gates that find shortcuts of the lens finder's networks")
    marginal_stamps: int = Field(
        0, ge=0, description="Test stamps with parametric sources for which the marginal observer is computed; 0 leaves it out"
    )

    @model_validator(mode="after")
    def _check(self) -> Evaluation:
        for key in ("fprs", "tprs", "prevalences"):
            bad = [r for r in getattr(self, key) if not 0 < r < 1]
            if bad:
                raise ValueError(f"{key} must lie between 0 and 1: {bad}")
        lost = sorted({name for pair in self.pairs for name in pair if name not in self.strata})
        if lost:
            raise ValueError(f"pairs name {', '.join(lost)}, which strata does not cut; add it there")
        of_one = {name: (how.of_positives, how.of_controls) for name, how in self.strata.items()}
        apart = [list(pair) for pair in self.pairs if {(True, False), (False, True)} == {of_one[name] for name in pair}]
        if apart:
            raise ValueError(f"a pair of what positives alone and controls alone have has no stamps: {apart}")
        odd = [list(s) for s in self.surfaces if len(s) not in (2, 3) or len(set(s)) != len(s)]
        if odd:
            raise ValueError(f"a surface takes two or three different columns, found {odd}")
        if len(set(self.clusters)) != len(self.clusters):
            raise ValueError(f"clusters name a column twice: {list(self.clusters)}")
        for nside in (int(sky[1]) for name in self.clusters if (sky := SKY_CELLS.fullmatch(name))):
            if not 1 <= nside <= 8192 or nside & (nside - 1):
                raise ValueError(f"healpix-{nside}: the number must be a power of two up to 8192")
        if not _increase(self.d_prime_edges):
            raise ValueError(f"d_prime_edges must increase: {list(self.d_prime_edges)}")
        return self


#: What a table of scores decides by its columns, where the config leaves it open.
OPEN: dict[str, Any] = {"strata": {}, "surfaces": (), "clusters": ()}


class Explanations(Section):
    """Which pixels a network's score of a stamp rests on: integrated gradients of chosen test stamps."""

    stamps: int = Field(
        0,
        ge=0,
        le=200,
        description="Test stamps in each group: positives with the highest and the lowest scores, positives drawn by chance, controls with the highest scores; 0 leaves explanations out",
    )
    radius_arcsec: Positive = Field(
        0.2, description="Radius about the subhalo, or half width of the ring about θ_E, within which attributions are near it [arcsec]"
    )
    steps: int = Field(64, ge=8, le=1024, description="Steps of the integral; up to 16 times as many where a stamp misses the tolerance")
    tolerance: Positive = Field(
        0.02,
        description="Largest difference between the sum of a stamp's attributions and what they must add up to, over the latter or over 1, whichever is larger",
    )


class Search(Section):
    """The whole parent sample of the training dataset's survey, as it is, scored and ranked for people to look through."""

    make: bool = Field(
        False,
        description="Make it with the report; the page can be asked for by name without, experiments/{experiment}/search/{detector}.html",
    )
    shown: int = Field(300, ge=1, le=5000, description="Galaxies on the page, those with the highest scores; the table beside it holds all")


class ScoresTable(Section):
    """Scores made elsewhere. A bare path is the table."""

    table: FilePath | None = Field(
        None,
        min_length=1,
        description="Parquet, CSV or FITS table of scores made elsewhere; where it is given, it is evaluated in place of `run`",
    )
    name: Name | None = Field(
        None, description="Name of the folder of its results; the file's name without its ending where it is left out"
    )
    columns: dict[str, str] = Field(
        {}, description="The table's columns for stamp_id, label, score, split or a column of strata, where no known name is found"
    )
    evaluation: Evaluation = Field(
        Evaluation.model_validate(OPEN),
        description="Rates, strata and intervals; without `strata`, `surfaces` or `clusters`, those of the default lists that the table has",
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"table": value}
        if isinstance(value, Mapping) and isinstance(value.get("evaluation"), Mapping):
            return {**value, "evaluation": {**OPEN, **value["evaluation"]}}
        return value

    @property
    def folder(self) -> str:
        """Name of the folder of its results: `name`, or the file's without its ending."""
        return self.name or (
            re.sub(
                r"[^\w.=+-]", "_", re.sub(r"(?i)\.(parquet|pq|csv|csv\.gz|fits|fits\.gz|fit|fts)$", "", Path(self.table or "").name)
            ).lstrip("._=+-")
            or "scores"
        )


class Experiment(Section):
    """A question, and the detectors and datasets that answer it."""

    question: str = Field(description="The question in one sentence, for the report")
    dataset: Name = Field(description="Dataset that networks are trained on and thresholds are fixed on")
    detectors: tuple[Name, ...] = Field(description="Detectors; networks are trained with every seed", min_length=1)
    seeds: tuple[int, ...] = Field((1,), description="Training seeds", min_length=1)
    tests: tuple[Name, ...] = Field((), description="Datasets whose test split is scored; empty for the training dataset's own")
    comparisons: tuple[tuple[Name, Name], ...] = Field((), description="Pairs of detectors compared on the same stamps, baseline first")
    robustness: dict[Name, dict[str, Any]] = Field(
        {},
        description="Variants of the dataset by name: dotted keys of it and their values. Their test stamps are drawn as the dataset's own, and scored by the detectors as they are",
    )
    evaluation: Evaluation = Field(Evaluation(), description="Rates, strata and intervals")
    explanations: Explanations = Field(Explanations(), description="Which pixels scores rest on")
    search: Search = Field(Search(), description="Candidates of the survey itself, for experiments on the lens finder's stamps")

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "networks" in values:
            raise ValueError("networks is now detectors: rename the key")
        return values

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        for key in ("detectors", "seeds", "tests"):
            names = getattr(self, key)
            twice = sorted({str(n) for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{key} names {', '.join(twice)} twice")
        for pair in self.comparisons:
            for name in pair:
                if name not in self.detectors:
                    raise ValueError(
                        f"comparison {list(pair)} names detector {name}, which the experiment does not have (it has: {', '.join(self.detectors)})"
                    )
        return self

    @property
    def test_datasets(self) -> tuple[str, ...]:
        """Datasets that are scored."""
        return self.tests or (self.dataset,)

    @property
    def main_detector(self) -> str:
        """The detector whose scores order the stamps: what the first comparison puts to the test, or the first one."""
        return self.comparisons[0][1] if self.comparisons else self.detectors[0]

    @property
    def variants(self) -> dict[str, str]:
        """Names of the datasets that the variants of `robustness` make, by the variant's name."""
        return {name: f"{self.dataset}+{name}" for name in self.robustness}

    @property
    def home(self) -> str:
        """Dataset whose test stamps robustness is measured from."""
        return self.dataset if self.robustness or self.dataset in self.test_datasets else self.test_datasets[0]


class Sweep(Section):
    """A grid over dotted keys of an experiment's training dataset or detectors."""

    experiment: Name = Field(description="Experiment that is repeated at every point")
    grid: dict[str, tuple[float | int | bool | str | None, ...]] = Field(
        description="Dotted keys below `dataset.` or `detector.` and the values they take, for example `dataset.instrument.noise.peak_snr: [10, 30]`",
        min_length=1,
    )

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        for key, values in self.grid.items():
            first, _, rest = key.partition(".")
            if first == "network":
                raise ValueError(f"sweep key `{key}`: `network.` is now `detector.`; write `detector.{rest}`")
            if first not in ("dataset", "detector") or not rest:
                raise ValueError(f"sweep key `{key}` must begin with `dataset.` or `detector.`")
            if not values or len({(isinstance(v, bool), v) for v in values}) != len(values):
                raise ValueError(f"sweep key `{key}` needs one or more different values, found {list(values)}")
        return self
