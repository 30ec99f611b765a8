"""Networks with every option of training on pairs, and networks on the evidence detector's maps, from config to comparison."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file

from workbench import new_project

RESULTS = "results/tiny"
TRAINING = {"epochs": 2, "batch_size": 8}
PAIRS = {"amplify": 4.0, "place_weight": 0.2, "lens_weight": 0.3}
OVERLAY = {
    "extends": "tests/tiny.yaml",
    "datasets": {
        "subhalo": {
            "pairs": True,
            "size": {"train": 16, "validation": 16, "test": 16},
            "sources": {"sample": None, "mix": {"disk": 1.0}},
            "subhalo": {"theta_e_factor": 0.1, "profiles": {"sis": 1.0}},
        }
    },
    "evidence": {"maps": True, "draws": 32, "place_step": 4},
    "detectors": {
        "paired": {"architecture": "unet", "width": 4, "channels": "both", "training": {**TRAINING, "pairs": PAIRS}},
        "evidence": {"kind": "evidence"},
        "seer-flux": {"architecture": "toy", "channels": "flux", "sees": "evidence", "training": TRAINING},
        "seer": {"architecture": "unet", "width": 4, "channels": "both", "sees": "evidence", "training": TRAINING},
        "joined": {"kind": "fusion", "of": ["evidence", "paired"]},
    },
    "experiments": {
        "subhalo": {
            "detectors": ["paired", "evidence", "seer-flux", "seer", "joined"],
            "comparisons": [["seer-flux", "seer"], ["evidence", "joined"]],
            "evaluation": {"bootstrap": 50, "marginal_stamps": 0, "strata": {"theta_e_arcsec": None}},
        }
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The chain from rendering to comparisons with all options on; no report."""
    project = new_project(tmp_path_factory.mktemp("shoulders") / "project")
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(OVERLAY), encoding="utf-8")
    project.snakemake(f"{RESULTS}/experiments/subhalo/evaluation/comparison.csv", config="overlay.yaml")
    return project


def scores(run, detector, seed):
    return pd.read_parquet(run.folder / RESULTS / f"detectors/subhalo/{detector}/seed-{seed}/scores/subhalo.parquet")


def test_every_detector_scored_the_same_stamps(run):
    tables = {
        name: scores(run, name, seed) for name, seed in (("paired", 1), ("evidence", 0), ("seer-flux", 1), ("seer", 1), ("joined", 0))
    }
    first = tables["paired"]
    assert len(first) == 32 and set(first["split"]) == {"validation", "test"}
    for name, table in tables.items():
        assert list(table["stamp_id"]) == list(first["stamp_id"]) and table["score"].between(0, 1).all(), name
        # Every column that strata are made of went along, by way of the maps too.
        pd.testing.assert_frame_equal(
            table.drop(columns=["detector", "seed", "score", "calibrated"]), first.drop(columns=["detector", "seed", "score", "calibrated"])
        )
    compared = pd.read_csv(run.folder / RESULTS / "experiments/subhalo/evaluation/comparison.csv")
    assert {("seer-flux", "seer"), ("evidence", "joined")} <= set(zip(compared["first"], compared["second"], strict=True))


def test_the_network_on_pairs_learnt_from_training_rows_alone(run):
    folder = run.folder / RESULTS / "detectors/subhalo/paired/seed-1"
    record = json.loads((folder / "provenance/network.safetensors.json").read_text())
    read = [name for name in record["inputs"] if name.endswith(".parquet")]
    assert any("/pairs/" in name for name in read) and not any("/test/" in name or "/stamps/train/" in name for name in read)
    pairs = pq.read_table(next((run.folder / RESULTS / "datasets/subhalo/pairs").glob("*.parquet")), columns=["split", "theta_e_arcsec"])
    assert set(pairs["split"].to_pylist()) == {"train"} and len(pairs) == 16
    weights = load_file(folder / "network.safetensors")
    assert weights["lens.mean"][0] == pytest.approx(np.mean(pairs["theta_e_arcsec"].to_pylist()), rel=1e-6)


def test_a_finished_run_plans_nothing_and_another_option_trains_that_network_alone(run):
    target = f"{RESULTS}/experiments/subhalo/evaluation/comparison.csv"
    assert run.plan(target, config="overlay.yaml") == set()
    changed = {**OVERLAY, "detectors": {**OVERLAY["detectors"], "paired": {"training": {"pairs": {"twins": False}}}}}
    (run.folder / "changed.yaml").write_text(yaml.safe_dump({**changed, "extends": "overlay.yaml"}), encoding="utf-8")
    found = run.plan(target, config="changed.yaml")
    assert {"train_network", "score_stamps", "fuse_scores", "compare_networks"} <= found
    assert not {"render_stamps", "render_pairs", "detect_subhalos", "join_maps", "check_stamps"} & found
