"""Cutouts that the user brings, from the command line to scores, page and rates: nothing is trained again."""

import hashlib
import json
import shlex
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.jobs.provenance import record_path
from toy_finder import train_toy, write_run

SCORING = {"prepare_cutouts", "score_cutouts", "evaluate_cutouts", "show_cutouts"}
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def trained(project, toy):
    """A project whose finder has been trained; config `finder.yaml`."""
    write_run(project.folder)
    own = project.folder / "results/detectors/own/toy/seed-1"
    own.mkdir(parents=True)
    for path in toy:
        shutil.copy(path, own)
    return project


def images(n, size=101):
    y, x = np.indices((size, size)) - (size - 1) / 2
    galaxy = np.exp(-(x**2 + y**2) / 30) * np.array([0.3, 1.0, 2.0])[:, None, None]
    return (RNG.normal(0, 0.05, (n, 3, size, size)) + galaxy).astype(np.float32)


def folder_of(path, n=3):
    path.mkdir()
    for k, image in enumerate(images(n)):
        np.savez(path / f"object-{k}.npz", cutout=np.moveaxis(image, 0, 2), meta_ra=10.0 + k, meta_dec=1.0)


def test_a_folder_is_scored_by_its_path_alone_and_only_scored(trained):
    folder_of(trained.folder / "mine")
    command = ("--config", "cutouts=mine")
    # The stamps that the finder learnt from are not there, and its code is another one now: neither is asked for.
    assert trained.plan(*command, config="finder.yaml") == SCORING
    trained.snakemake(*command, config="finder.yaml", cores=1)
    folder = trained.folder / "results/cutouts/mine"
    scored = pd.read_csv(folder / "scores.csv")
    assert sorted(scored["stamp_id"]) == ["object-0", "object-1", "object-2"] and scored["score_toy"].between(0, 1).all()
    assert scored["label"].isna().all() and scored["ra"].between(10, 12).all()
    page = (folder / "toy.html").read_text()
    assert page.count("data:image/png;base64") == 3 and "No cutout has a label, so there are no rates." in page
    assert pd.read_csv(folder / "rates.csv").empty and pq.read_table(folder / "scores.parquet").num_rows == 3
    assert trained.plan(*command, config="finder.yaml") == set()
    # The log's command makes the scores again.
    log = (trained.folder / "results/logs/score_cutouts/mine.log").read_text()
    again = shlex.split(log.splitlines()[0].split("again: ")[1])
    assert again[-2:] == ["--config", "cutouts=mine"]
    # A file of the same size in its place, and a training whose code changed: scoring alone.
    other = trained.folder / "mine/object-2.npz"
    with open(other, "r+b") as file:
        file.write(other.read_bytes())
    trained.edit("workflow/scripts/darkhaloscope/learning/fit.py", "import numpy as np", "import numpy as np\n\nEDITED = True")
    assert trained.plan(*command, config="finder.yaml") == SCORING


def test_scores_stand_beside_the_finders_own_controls(trained):
    """The finder's table of scores is used as it is, older than its code: test controls alone count, and equal scores pass."""
    folder_of(trained.folder / "mine")
    trained.snakemake("--config", "cutouts=mine", config="finder.yaml", cores=1)
    first = pd.read_csv(trained.folder / "results/cutouts/mine/scores.csv")
    assert "passing_toy" not in first
    low, middle, high = sorted(first["score_toy"])
    own = trained.folder / "results/detectors/own/toy/seed-1/scores/own.parquet"
    own.parent.mkdir()
    rows = [("test", 0, 0.0), ("test", 0, middle), ("test", 0, middle), ("test", 0, 1.0), ("test", 1, 1.0), ("validation", 0, 1.0)]
    split, label, score = zip(*rows, strict=True)
    table = {"stamp_id": [f"s{k}" for k in range(6)], "split": split, "label": np.array(label, np.int8), "score": score}
    pq.write_table(pa.table({k: list(v) if isinstance(v, tuple) else v for k, v in table.items()}), own)
    assert trained.plan("--config", "cutouts=mine", config="finder.yaml") == SCORING - {"prepare_cutouts"}
    trained.snakemake("--config", "cutouts=mine", config="finder.yaml", cores=1)
    scored = pd.read_csv(trained.folder / "results/cutouts/mine/scores.csv").set_index("score_toy")
    assert scored["passing_toy"].loc[[low, middle, high]].tolist() == [0.75, 0.75, 0.25] and (scored["controls_toy"] == 4).all()
    page = (trained.folder / "results/cutouts/mine/toy.html").read_text()
    assert page.count("3 of 4 controls score as high") == 2 and "no label, 1 of 4 controls score as high" in page
    # Scores of other weights, by their record, say nothing of these ones; those of these weights do.
    weights = own.parents[1] / "network.safetensors"
    record_path(own).parent.mkdir()
    for hashed, known in (("0" * 64, False), (hashlib.sha256(weights.read_bytes()).hexdigest(), True)):
        record_path(own).write_text(json.dumps({"inputs": {"results/detectors/own/toy/seed-1/network.safetensors": f"sha256:{hashed}"}}))
        trained.snakemake("--force", "results/cutouts/mine/scores.csv", "--config", "cutouts=mine", config="finder.yaml", cores=1)
        assert ("passing_toy" in pd.read_csv(trained.folder / "results/cutouts/mine/scores.csv")) == known


def test_a_table_with_labels_has_rates_and_another_of_its_name_is_refused(trained):
    n = 60
    kind = pa.fixed_shape_tensor(pa.float32(), (3, 70, 70))
    column = pa.ExtensionArray.from_storage(
        kind, pa.FixedSizeListArray.from_arrays(images(n, 70).ravel(), 3 * 70 * 70).cast(kind.storage_type)
    )
    table = pa.table({"id": np.arange(n), "ra": np.linspace(1, 2, n), "dec": np.zeros(n), "label": np.arange(n) % 2, "image": column})
    pq.write_table(table, trained.folder / "mine.parquet", row_group_size=25)
    trained.snakemake("--config", "cutouts=mine.parquet", config="finder.yaml", cores=1)
    folder = trained.folder / "results/cutouts/mine"
    rates = pd.read_csv(folder / "rates.csv")
    auc = rates[(rates["metric"] == "auc") & (rates["column"] == "all")]
    assert auc[["n_positives", "n_negatives"]].to_numpy().tolist() == [[30, 30]] and auc["value"].between(0, 1).all()
    assert "30 lenses and 30 controls by their labels: AUC" in (folder / "toy.html").read_text()
    folder_of(trained.folder / "mine", 1)
    said = trained.snakemake("--dry-run", "--config", "cutouts=mine", config="finder.yaml", check=False)
    assert "results/cutouts/mine holds the results of mine.parquet, another source of cutouts than mine" in said


def test_a_finder_that_was_never_trained_is_trained_as_usual(project):
    config = write_run(project.folder)
    folder_of(project.folder / "mine", 1)
    planned = project.plan("--config", "cutouts=mine", config=config)
    assert planned == SCORING | {"import_stamps", "check_stamps", "train_network"}


@pytest.mark.parametrize(
    ("cutouts", "words"),
    [
        ("{path: mine, bands: [g, r, i]}", "lack z; name what stands in, for example stand_in: {z: i}"),
        ("{path: mine, experiment: findr}", "cutouts.experiment names `findr`"),
        ("{path: mine, detectors: [toi]}", "cutouts.detectors names toi, which is no network of bands of experiment finder (it has: toy)"),
        ("{path: mine, band: [g]}", "band"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(project, cutouts, words):
    config = write_run(project.folder)
    folder_of(project.folder / "mine", 1)
    said = project.snakemake("--dry-run", "--config", f"cutouts={cutouts}", config=config, check=False)
    assert words in said and "Traceback" not in said
