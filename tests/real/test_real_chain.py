"""A real MaNGA galaxy through the workflow's own rules: download, quality, score, tensor, stamps; then scores."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from darkhaloscope.config.network import Network
from darkhaloscope.detectors.schema import SCORES
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.score import score_stamps
from darkhaloscope.learning.weights import save_network
from unit.learning.stamp_shards import stamp_columns, write_shards
from workbench import new_project

#: Shards of the two splits: name, stamps, first number.
TRAINING = (("training", 32, 0), ("validation", 16, 1000))
GALAXY = "7815-3702"


def test_a_real_dr15_galaxy_becomes_stamps(real, tmp_path):
    project = new_project(tmp_path / "project")
    overlay = {
        "extends": "config/real-sample.yaml",
        "manga": {"samples": {"real": {"base": f"file://{real.resolve()}/sas/dr15/manga/spectro/"}}},
        "datasets": {"real-7815-3702": {"size": {"test": 20}, "shard_size": 20}},
    }
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    root = project.folder / "results/demo-full"
    # The whole chain, on the mock archive's galaxies for training and the real one for testing.
    planned = project.plan(config="overlay.yaml")
    assert {"make_mock_archive", "retrieve_maps", "render_stamps", "train_network", "score_stamps", "build_report"} <= planned
    output = project.snakemake(
        "results/demo-full/datasets/real-7815-3702/quality/checks.json",
        f"results/demo-full/manga/real/tensors/source_tensor_{GALAXY}.npy",
        config="overlay.yaml",
    )
    assert "make_mock_archive" not in output and "retrieve_catalogs" not in output

    metrics = json.loads((root / f"manga/real/quality/{GALAXY}.json").read_text())
    # Known of the file: Hα by name at C19, 769 spaxels with a good fit; redshift from SCINPVEL, b/a from ECOOELL.
    assert metrics["n_valid_spaxels"] == 769 and metrics["line"] == "Ha-6564" and metrics["layout"] == "DR15"
    assert abs(metrics["z"] - 0.0293823) < 1e-6
    table = pd.read_csv(root / "manga/real/lensability.csv")
    assert list(table["galaxy_id"]) == [GALAXY] and table["tier"][0] in ("elite", "good", "borderline")

    sidecar = json.loads((root / f"manga/real/tensors/source_tensor_{GALAXY}.json").read_text())
    assert sidecar["galaxy_id"] == GALAXY
    tensor = np.load(root / f"manga/real/tensors/source_tensor_{GALAXY}.npy", allow_pickle=False)
    assert tensor.shape == (2, 64, 64) and tensor.dtype == np.float32
    assert tensor[0].min() >= 0 and tensor[0].max() <= 1 and abs(tensor[1]).max() <= 1

    stamps = pq.read_table(root / "datasets/real-7815-3702/stamps/test/00000.parquet")
    assert stamps.num_rows == 20 and set(stamps["galaxy_id"].to_pylist()) == {GALAXY}
    assert np.isfinite(stamps["flux"].combine_chunks().to_numpy_ndarray()).all()

    score_with_a_tiny_network(root / "datasets/real-7815-3702/stamps/test/00000.parquet", stamps["flux"].type.shape[0], tmp_path)


def score_with_a_tiny_network(shard, size, folder):
    """Every row of the real galaxy's stamps is scored, by a network trained on random stamps of their size."""
    paths = [write_shards(folder, stamp_columns(n, size=size, first=first), [0, n], name) for name, n, first in TRAINING]
    network = Network.model_validate({"architecture": "dual_stream", "channels": "both", "training": {"epochs": 1, "batch_size": 16}})
    files = folder / "network.safetensors", folder / "network.json"
    save_network(train_network(*paths, network, 1, folder / "checkpoints", 1), *files)
    table = SCORES.table(score_stamps([shard], *files, dataset="real", detector="tiny"))
    assert table.num_rows == 20 and set(table["galaxy_id"].to_pylist()) == {GALAXY}
    scores = table["score"].to_numpy()
    assert ((scores > 0) & (scores < 1)).all() and np.ptp(scores) > 0
