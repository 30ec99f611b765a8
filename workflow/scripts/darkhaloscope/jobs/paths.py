"""Every path below the results root, in one place; braces are Snakemake wildcards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paths:
    """Paths of results. `root` comes from the config."""

    root: str

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"

    # --- the mock archive and MaNGA ---

    @property
    def mock_archive(self) -> str:
        """Folder of a sample's mock archive: what its base address points to."""
        return self._at("mock/{sample}")

    @property
    def mock_marker(self) -> str:
        """File that says the mock archive is whole."""
        return self._at("mock/{sample}/mock-archive.json")

    @property
    def dapall(self) -> str:
        """Catalogue of analysed cubes."""
        return self._at("manga/{sample}/catalogs/dapall.fits")

    @property
    def drpall(self) -> str:
        """Catalogue of reduced cubes."""
        return self._at("manga/{sample}/catalogs/drpall.fits")

    @property
    def ranking(self) -> str:
        """Ranked galaxies with the address of their maps."""
        return self._at("manga/{sample}/ranking.csv")

    @property
    def maps(self) -> str:
        """MAPS file of one galaxy."""
        return self._at("manga/{sample}/maps/{plateifu}.fits.gz")

    @property
    def quality(self) -> str:
        """Quality metrics of one galaxy."""
        return self._at("manga/{sample}/quality/{plateifu}.json")

    @property
    def inspection(self) -> str:
        """Inspection page of one galaxy."""
        return self._at("manga/{sample}/quality/{plateifu}.html")

    @property
    def lensability(self) -> str:
        """Lensability scores of a sample."""
        return self._at("manga/{sample}/lensability.csv")

    def tensor(self, suffix: str) -> str:
        """One of the files of a source tensor: npy, json, npz or png."""
        return self._at("manga/{sample}/tensors/source_tensor_{plateifu}." + suffix)

    @property
    def bank(self) -> str:
        """Bank of source galaxies of a sample."""
        return self._at("manga/{sample}/bank.parquet")

    # --- Legacy Surveys ---

    @property
    def mock_survey(self) -> str:
        """Folder of a survey's mock archive: what its base address points to."""
        return self._at("mock/legacysurvey/{survey}")

    @property
    def mock_survey_marker(self) -> str:
        """File that says the mock survey is whole."""
        return self._at("mock/legacysurvey/{survey}/mock-survey.json")

    @property
    def sweep_file(self) -> str:
        """One sweep file."""
        return self._at("legacysurvey/{survey}/sweeps/{sweep_name}.fits")

    @property
    def brick_bounds(self) -> str:
        """Bounds of all bricks."""
        return self._at("legacysurvey/{survey}/tables/survey-bricks.fits.gz")

    @property
    def brick_conditions(self) -> str:
        """Observing conditions of the survey's bricks."""
        return self._at("legacysurvey/{survey}/tables/survey-bricks-dr10-south.fits.gz")

    @property
    def parent(self) -> str:
        """Luminous red galaxies of a survey."""
        return self._at("legacysurvey/{survey}/parent.parquet")

    @property
    def cut_flow(self) -> str:
        """Rows before and after each cut of the parent sample."""
        return self._at("legacysurvey/{survey}/cut_flow.csv")

    @property
    def known_lenses(self) -> str:
        """Known lenses on the survey's bricks."""
        return self._at("legacysurvey/{survey}/known_lenses.parquet")

    @property
    def brick(self) -> str:
        """Folder of one brick's coadds, with brick.json saying what is in it."""
        return self._at("legacysurvey/{survey}/bricks/{brickname}")

    # --- stamps ---

    @property
    def manifest(self) -> str:
        """One row per stamp, before rendering."""
        return self._at("datasets/{dataset}/manifest.parquet")

    @property
    def shard(self) -> str:
        """One shard of stamps."""
        return self._at("datasets/{dataset}/stamps/{split}/{shard}.parquet")

    @property
    def checks(self) -> str:
        """Quality report of a dataset; its gates stop the run."""
        return self._at("datasets/{dataset}/quality/checks.json")

    @property
    def known_lens_bricks(self) -> str:
        """Names of the bricks that hold known lenses."""
        return self._at("legacysurvey/{survey}/known_lens_bricks.txt")

    @property
    def known_stamps(self) -> str:
        """Stamps of the known lenses of a dataset's survey."""
        return self._at("datasets/{dataset}/known_lenses.parquet")

    @property
    def arcs_removed(self) -> str:
        """Test stamps of some positives less their noiseless arcs."""
        return self._at("datasets/{dataset}/hosts/arcs_removed.parquet")

    @property
    def bare_hosts(self) -> str:
        """The same positives less their arcs and the arcs' noise."""
        return self._at("datasets/{dataset}/hosts/bare.parquet")

    @property
    def cosmos_sources(self) -> str:
        """COSMOS galaxies that pass a dataset's cuts."""
        return self._at("datasets/{dataset}/cosmos_sources.parquet")

    @property
    def shard_bricks(self) -> str:
        """Bricks that each shard of a lens-finder dataset needs."""
        return self._at("datasets/{dataset}/bricks.csv")

    @property
    def quality_table(self) -> str:
        """Distributions of a lens-finder dataset, split by split."""
        return self._at("datasets/{dataset}/quality/distributions.csv")

    @property
    def quality_pictures(self) -> str:
        """Stamps of a lens-finder dataset to look at."""
        return self._at("datasets/{dataset}/quality/pictures.npz")

    @property
    def quality_page(self) -> str:
        """Quality report of a lens-finder dataset, with pictures."""
        return self._at("datasets/{dataset}/quality/index.html")

    # --- detectors ---

    @property
    def weights(self) -> str:
        """Weights of a trained network."""
        return self._at("detectors/{dataset}/{detector}/seed-{seed}/network.safetensors")

    @property
    def network(self) -> str:
        """Architecture, normalisation and channels of a trained network."""
        return self._at("detectors/{dataset}/{detector}/seed-{seed}/network.json")

    @property
    def history(self) -> str:
        """Loss, accuracy and AUC per epoch."""
        return self._at("detectors/{dataset}/{detector}/seed-{seed}/history.csv")

    @property
    def mined(self) -> str:
        """Hard controls that a round of training adds to those of the rounds before."""
        return self._at("detectors/{dataset}/{detector}/seed-{seed}/mined.parquet")

    @property
    def scores(self) -> str:
        """Scores by a detector on one dataset, for every experiment that wants them."""
        return self._at("detectors/{dataset}/{detector}/seed-{seed}/scores/{test}.parquet")

    # --- experiments ---

    def evaluation(self, name: str) -> str:
        """One table of the evaluation of a detector: rates, strata, roc, information, calibration or purity."""
        return self._at("experiments/{experiment}/evaluation/{detector}/" + name + ".csv")

    def table_evaluation(self, name: str) -> str:
        """One table of the evaluation of scores made elsewhere."""
        return self._at("scores/{scores}/" + name + ".csv")

    @property
    def table_completeness(self) -> dict[str, str]:
        """Completeness of scores made elsewhere: cells, their picture, and selection functions."""
        names = {"cells": "completeness.csv", "picture": "completeness.png", "selection": "selection.json"}
        return {key: self._at("scores/{scores}/" + name) for key, name in names.items()}

    @property
    def completeness(self) -> str:
        """Completeness of a detector over two or three columns, cell by cell."""
        return self._at("experiments/{experiment}/evaluation/{detector}/completeness.csv")

    @property
    def completeness_picture(self) -> str:
        """Completeness surfaces and their smooth fits."""
        return self._at("experiments/{experiment}/evaluation/{detector}/completeness.png")

    @property
    def selection(self) -> str:
        """Selection functions of a detector: smooth fits of its completeness."""
        return self._at("experiments/{experiment}/evaluation/{detector}/selection.json")

    @property
    def shortcuts(self) -> str:
        """Gates that find shortcuts of a network, as a table; a JSON of the same name lies beside it."""
        return self._at("experiments/{experiment}/shortcuts/{test}/{detector}.csv")

    @property
    def shortcut_gates(self) -> str:
        """Gates that find shortcuts of a network, in the form of a dataset's checks."""
        return self._at("experiments/{experiment}/shortcuts/{test}/{detector}.json")

    @property
    def comparison(self) -> str:
        """Paired comparisons of detectors."""
        return self._at("experiments/{experiment}/evaluation/comparison.csv")

    @property
    def robustness(self) -> str:
        """Detectors of an experiment on several test datasets, and what each loses from one to the other."""
        return self._at("experiments/{experiment}/evaluation/robustness.csv")

    @property
    def rounds(self) -> str:
        """False-positive rate at fixed completeness of a network's rounds of training."""
        return self._at("experiments/{experiment}/evaluation/{detector}/rounds.csv")

    @property
    def known_recall(self) -> str:
        """Recall of known lenses at the thresholds of validation."""
        return self._at("experiments/{experiment}/known_lenses/{detector}/recall.csv")

    @property
    def known_scores(self) -> str:
        """Scores of known lenses."""
        return self._at("experiments/{experiment}/known_lenses/{detector}/scores.csv")

    @property
    def candidates(self) -> str:
        """Test stamps ranked by their score, with pictures of the first ones; a CSV of the same name lies beside it."""
        return self._at("experiments/{experiment}/candidates/{test}/{detector}.html")

    @property
    def candidate_table(self) -> str:
        """Test stamps ranked by their score."""
        return self._at("experiments/{experiment}/candidates/{test}/{detector}.csv")

    def explanations(self, name: str) -> str:
        """Return one file of the explanations of an experiment's networks: stamps.csv, summary.csv or maps.parquet."""
        return self._at("experiments/{experiment}/explanations/" + name)

    @property
    def marginal(self) -> str:
        """Marginal and ideal observer on test stamps with parametric sources."""
        return self._at("experiments/{experiment}/observers/{test}.csv")

    @property
    def report(self) -> str:
        """Report of an experiment."""
        return self._at("experiments/{experiment}/report/index.html")

    @property
    def summary(self) -> str:
        """An experiment's line in the index."""
        return self._at("experiments/{experiment}/summary.json")

    @property
    def index(self) -> str:
        """Index over the reports of the experiments of a run."""
        return self._at("index.html")

    @property
    def sweep(self) -> str:
        """Results of a sweep: one row per point and metric."""
        return self._at("sweeps/{sweep}/results.csv")

    @property
    def measured_rendering(self) -> str:
        """Speed of the rendering engine on this machine, as benchmarks/bench_rendering.py prints it."""
        return self._at("measured/rendering.txt")

    # --- beside the results ---

    def log(self, name: str) -> str:
        """Log file of a job."""
        return self._at(f"logs/{name}.log")

    def benchmark(self, name: str) -> str:
        """Time and memory of a job, as Snakemake measures them."""
        return self._at(f"benchmarks/{name}.tsv")
