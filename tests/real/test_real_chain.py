"""A real MaNGA galaxy through the workflow's own rules: download, quality, score, tensor, stamps."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from workbench import new_project

GALAXY = "7815-3702"


def test_a_real_dr15_galaxy_becomes_stamps(real, tmp_path):
    project = new_project(tmp_path / "project")
    overlay = {
        "extends": "config/real-sample.yaml",
        "manga": {"samples": {"real": {"base": f"file://{real.resolve()}/sas/dr15/manga/spectro/"}}},
        "datasets": {"real-7815-3702": {"size": {"test": 20}, "shard_size": 20}},
    }
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    root = project.folder / "results/demo"
    output = project.snakemake("results/demo/datasets/real-7815-3702/quality/checks.json", config="overlay.yaml")
    assert "make_mock_archive" not in output and "retrieve_catalogs" not in output

    metrics = json.loads((root / f"manga/real/quality/{GALAXY}.json").read_text())
    # Known of the file: Hα by name at C19, 769 spaxels with a good fit; redshift from SCINPVEL, b/a from ECOOELL.
    assert metrics["n_valid_spaxels"] == 769 and metrics["line"] == "Ha-6564" and metrics["layout"] == "DR15"
    assert abs(metrics["z"] - 0.0293823) < 1e-6
    table = pd.read_csv(root / "manga/real/lensability.csv")
    assert list(table["plateifu"]) == [GALAXY] and table["tier"][0] in ("elite", "good", "borderline")

    sidecar = json.loads((root / f"manga/real/tensors/source_tensor_{GALAXY}.json").read_text())
    assert sidecar["plateifu"] == GALAXY
    tensor = np.load(root / f"manga/real/tensors/source_tensor_{GALAXY}.npy", allow_pickle=False)
    assert tensor.shape == (2, 64, 64) and tensor.dtype == np.float32
    assert tensor[0].min() >= 0 and tensor[0].max() <= 1 and abs(tensor[1]).max() <= 1

    stamps = pq.read_table(root / "datasets/real-7815-3702/stamps/test/00000.parquet")
    assert stamps.num_rows == 20 and set(stamps["plateifu"].to_pylist()) == {GALAXY}
    assert np.isfinite(stamps["flux"].combine_chunks().to_numpy_ndarray()).all()
