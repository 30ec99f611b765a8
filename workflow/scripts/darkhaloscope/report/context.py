"""Everything that a report is made of: values, tables and arrays, none of them a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..config.detector import Detector
from ..config.experiment import Experiment
from ..config.lensfinder import ImportedDataset, LensFinderDataset
from ..config.subhalo import SubhaloDataset

Dataset = SubhaloDataset | LensFinderDataset | ImportedDataset


class ReportError(ValueError):
    """A report cannot be built from what it was given; the message names what is wrong and what to do."""


@dataclass(frozen=True)
class ReportSettings:
    """How large a report may become.

    Attributes
    ----------
    browser_stamps : int
        Most stamps in the stamp browser; a larger test split is sampled.
    sheet_stamps : int
        Stamps in one sprite sheet.
    sources, stamps : int
        Source galaxies and smooth/perturbed pairs among the examples.
    composites : int
        Colour pictures of stamps in each group of examples.
    """

    browser_stamps: int = 2000
    sheet_stamps: int = 64
    sources: int = 8
    stamps: int = 4
    composites: int = 8

    def __post_init__(self) -> None:
        for name in ("browser_stamps", "sheet_stamps", "sources", "stamps", "composites"):
            if getattr(self, name) < 1:
                raise ReportError(f"report setting {name} is {getattr(self, name)}; it must be 1 or more")


@dataclass(frozen=True)
class Gate:
    """A check with its outcome: `passed` is None where the sample cannot decide; `found` and `limit` are in words.

    Gates of one `group`, which their names begin with, may be told together.
    """

    name: str
    passed: bool | None
    found: str
    limit: str
    group: str = ""


@dataclass(frozen=True)
class Sources:
    """Sources before lensing: `flux`, `velocity`, `valid` are (n, h, w); `captions` has n lines."""

    captions: tuple[str, ...]
    flux: np.ndarray
    velocity: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Stamps with and without their subhalo.

    Attributes
    ----------
    captions : tuple of str
        One line per stamp.
    smooth_flux, perturbed_flux, smooth_velocity, perturbed_velocity : (n, size, size)
        Noiseless images in flux per pixel and km/s.
    flux, velocity : (n, size, size)
        The stamp as observed, noise included.
    mask : (n, size, size)
        1 where a velocity exists.
    places : (n, 2) or None
        Where the subhalo is, x and y [arcsec] from the stamp's middle; None where there is none to be marked.
    """

    captions: tuple[str, ...]
    smooth_flux: np.ndarray
    perturbed_flux: np.ndarray
    smooth_velocity: np.ndarray
    perturbed_velocity: np.ndarray
    flux: np.ndarray
    velocity: np.ndarray
    mask: np.ndarray
    places: np.ndarray | None = None


@dataclass(frozen=True)
class EvidenceShown:
    """What the model-based detector makes of one stamp.

    Attributes
    ----------
    caption : str
    flux, velocity : (size, size), as observed; velocity is NaN where there is none
    z, limit : (size, size), significance of a subhalo, and least log₁₀ M/M☉ that would be seen; NaN where nothing was tried
    place, found : (1, 2), where the subhalo is and where z is greatest, x and y [arcsec] from the stamp's middle
    """

    caption: str
    flux: np.ndarray
    velocity: np.ndarray
    z: np.ndarray
    limit: np.ndarray
    place: np.ndarray
    found: np.ndarray


@dataclass(frozen=True)
class Examples:
    """Pictures of the data: sources, pairs, and a stamp as the model-based detector sees it; None where an experiment has none."""

    sources: Sources | None = None
    pairs: Pairs | None = None
    evidence: EvidenceShown | None = None


@dataclass(frozen=True)
class Browser:
    """Stamps of the stamp browser.

    Attributes
    ----------
    rows : DataFrame
        `stamp_id`, `label`, one `score_NETWORK` per network, and any parameters; one row per stamp.
    flux, velocity, mask : (n, size, size)
        Images in the order of `rows`.
    total : int
        Stamps of the test split that the rows were taken from.
    """

    rows: pd.DataFrame
    flux: np.ndarray
    velocity: np.ndarray
    mask: np.ndarray
    total: int

    def __post_init__(self) -> None:
        _check_rows(self.rows, {name: len(getattr(self, name)) for name in ("flux", "velocity", "mask")})


@dataclass(frozen=True)
class ColourBrowser:
    """Stamps of bands in the stamp browser: `rows` and `total` as in `Browser`; `image` is (n, 3, size, size) in g, r, z [nanomaggies]."""

    rows: pd.DataFrame
    image: np.ndarray
    total: int

    def __post_init__(self) -> None:
        _check_rows(self.rows, {"colour": len(self.image)})


def _check_rows(rows: pd.DataFrame, images: Mapping[str, int]) -> None:
    for name, n in images.items():
        if n != len(rows):
            raise ReportError(f"the stamp browser has {len(rows)} rows but {n} {name} images; give one image per row")
    missing = {"stamp_id", "label"} - set(rows.columns)
    if missing:
        raise ReportError(f"the stamp browser's rows lack {sorted(missing)}; they have {list(rows.columns)}")


@dataclass(frozen=True)
class Explained:
    """What scores of chosen stamps rest on.

    Attributes
    ----------
    table, summary : DataFrame
        As `evaluation.explanations.explain_networks` and `summarise_explanations` give them.
    pixels : mapping of (stamp_id, band or channel) to (size, size)
    maps : mapping of (stamp_id, network) to (size, size)
        Attributions, added up over the network's inputs.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    pixels: Mapping[tuple[str, str], np.ndarray]
    maps: Mapping[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class ReportContext:
    """One experiment, ready to be written down.

    Attributes
    ----------
    experiment_name : str
    experiment : Experiment
    dataset : Dataset
        The training dataset.
    detectors : mapping of name to Detector
    frames : mapping of detector to mapping of `rates`, `strata`, `roc`, `information` to DataFrame
        As `evaluation.evaluate.evaluate_network` gives them.
    comparison : DataFrame
        Paired comparisons; empty where the experiment has none.
    histories : mapping of (network, seed) to DataFrame
        Training history, one row per epoch.
    quality : mapping
        Quality report of the first test dataset, as the stamp checks write it.
    examples : Examples
    browser : Browser, ColourBrowser or None
    provenance : mapping
        `git_commit`, `packages`, `machine`, … and the resolved config under `config`.
    settings : ReportSettings
    test_datasets : mapping of name to Dataset
        Datasets that were scored, for their descriptions and instruments.
    observers : mapping of test dataset to DataFrame
        Ideal and marginal observer, one row per stamp; may carry `mass_bin`.
    notes : tuple of str
        More that cannot be said, for example that the archive is a mock.
    decided : mapping
        What the tables say, as `evaluation.answer.judge_experiment` decides it.
    gates : tuple of Gate
        Checks beside those that the quality report and the rates give.
    robustness : DataFrame
        Networks on every test dataset, as `evaluation.robustness.measure_robustness` gives them; empty for one dataset.
    explanations : Explained or None
    sizes : mapping of network to mapping
        Its `layers`, `parameters` and `multiply_adds` per stamp.
    pages : mapping of text to address
        Pages beside this one, relative to it: the index, datasets, ranked candidates.
    """

    experiment_name: str
    experiment: Experiment
    dataset: Dataset
    detectors: Mapping[str, Detector]
    frames: Mapping[str, Mapping[str, pd.DataFrame]]
    comparison: pd.DataFrame
    histories: Mapping[tuple[str, int], pd.DataFrame]
    quality: Mapping[str, Any]
    examples: Examples
    browser: Browser | ColourBrowser | None
    provenance: Mapping[str, Any]
    decided: Mapping[str, Any]
    settings: ReportSettings = ReportSettings()
    test_datasets: Mapping[str, Dataset] = field(default_factory=dict)
    observers: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    robustness: pd.DataFrame = field(default_factory=pd.DataFrame)
    explanations: Explained | None = None
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)

    @property
    def main_detector(self) -> str:
        """The network whose scores order the stamps."""
        return self.decided["main_detector"]

    @property
    def learnt(self) -> bool:
        """Whether any of the detectors was made from examples."""
        return any(detector.learnt for detector in self.detectors.values())

    @property
    def stamp_size(self) -> int:
        """Pixels on a side of the training dataset's stamps."""
        dataset = self.dataset
        if isinstance(dataset, SubhaloDataset):
            return dataset.instrument.stamp_size
        return dataset.camera.stamp_size if isinstance(dataset, LensFinderDataset) else dataset.stamp_size

    @property
    def one_psf(self) -> bool:
        """Whether θ_E/PSF is θ_E over one number in the stamps of the browser, and θ_E is a stratum too."""
        columns = {"theta_over_psf", "theta_e_arcsec"}
        if self.browser is None or not columns <= set(self.experiment.evaluation.strata) or not columns <= set(self.browser.rows):
            return False
        # Compared as reciprocals: without a PSF the ratio is infinite everywhere.
        psf = self.browser.rows["theta_e_arcsec"] / self.browser.rows["theta_over_psf"]
        return bool(np.allclose(psf, psf.iloc[0], rtol=1e-6)) if len(psf) else False

    def __post_init__(self) -> None:
        for name in self.experiment.detectors:
            if name not in self.detectors or name not in self.frames:
                raise ReportError(
                    f"experiment {self.experiment_name} has detector {name}, but its settings or its evaluation were not given to the report"
                )
            missing = {"rates", "strata", "roc", "information"} - set(self.frames[name])
            if missing:
                raise ReportError(f"the evaluation of detector {name} lacks {sorted(missing)}; make it again with rule evaluate_scores")


@dataclass(frozen=True)
class LensContext(ReportContext):
    """An experiment on the lens finder's stamps; `examples` and `observers` stay empty.

    Attributes
    ----------
    resolved, contaminants : mapping of detector to DataFrame
        Rates of resolved lenses with the criterion, and false positives by class, as `evaluate_network` gives them.
    rounds : mapping of detector to DataFrame
        Rounds of training compared, as `evaluation.rounds.compare_rounds` gives them; networks of one round have none.
    known_lenses : mapping of detector to DataFrame
        Recall of known lenses, as `evaluation.known_lenses.recall_known_lenses` gives it, where there are any.
    real : mapping of detector to mapping
        `auc` of real lenses against real look-alikes, `low`, `high`, and numbers of `lenses` and `lookalikes`, where there are any.
    """

    resolved: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    contaminants: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rounds: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    known_lenses: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    real: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
