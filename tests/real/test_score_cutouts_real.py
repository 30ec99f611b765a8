"""Real cutouts of four surveys, scored by one command each: a toy network, finite scores, a page, rates where labels are."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.cutouts import Cutouts, RealSky
from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.config.network import Head
from darkhaloscope.core.tables import write_table
from darkhaloscope.evaluation.cutouts import evaluate_cutouts
from darkhaloscope.learning.cutouts import score_cutouts
from darkhaloscope.learning.fit_head import fit_head
from darkhaloscope.learning.networks import Trained
from darkhaloscope.learning.weights import load_network
from darkhaloscope.report.candidates import cutouts_page
from darkhaloscope.surveys.prepared import prepare_cutouts, prepared_schema, what_was_done
from darkhaloscope.surveys.real_sky import prepare_real_sky, real_sky_schema
from toy_finder import train_toy, write_run

CFHTLS = {"pixel_scale_arcsec": 0.186, "zero_point": 30.0}
HSC = {"pixel_scale_arcsec": 0.168, "zero_point": 27.0}
#: What each set is in `cutouts`, and how many objects it has.
SETS = {
    "dr10": ({"path": "candidates/dr10"}, 3),
    "des": (
        {
            "path": "candidates/other",
            "files": "esavary_DES_*",
            "bands": ["g", "r", "i"],
            "stand_in": {"z": "i"},
            "pixel_scale_arcsec": 0.263,
            "zero_point": 30.0,
        },
        2,
    ),
    "cfhtls": (
        CFHTLS
        | {
            "path": "candidates/other/yattalens",
            "bands": ["g", "r", "z"],
            "noise": "rms",
            "band_files": {b: f"*_{b}_sci.fits" for b in "grz"},
            "noise_files": {b: f"*_{b}_rms.fits" for b in "grz"},
            "psf_fwhm_arcsec": {"g": 0.8, "r": 0.7, "z": 0.7},
        },
        1,
    ),
    "cfhtls-gleam": (
        CFHTLS | {"path": "candidates/other", "bands": ["g", "r", "z"], "band_files": {b: f"gleam_*.{b.upper()}.*.fits" for b in "grz"}},
        1,
    ),
    "hsc": (
        HSC
        | {
            "path": "candidates/other/holismokes9",
            "bands": ["g", "r", "i", "z"],
            # HDUs 2, 4, 6, 8 are not the sky's variance: they are 0 in up to half of the pixels.
            "image_hdus": [1, 3, 5, 7],
        },
        16,
    ),
    "nonlenses": ({"path": "nonlenses", "files": "coadd_*"}, 5),
    "nonlenses-hsc": (HSC | {"path": "nonlenses", "files": "scarlet_*", "bands": ["g", "r", "i", "z", "y"], "mask_bits": [0, 1, 8]}, 3),
    "spacewarps": (
        {
            "path": "candidates/spacewarps-cfhtls-gri.npz",
            "bands": ["g", "r", "i"],
            "stand_in": {"z": "i"},
            "labels": "candidates/spacewarps-cfhtls.csv",
            "label": "grade",
            "positive_from": 2,
            "control_to": 0.3,
        },
        189,
    ),
}


def settings_of(real, name):
    values, count = SETS[name]
    places = {key: str(real / values[key]) for key in ("path", "labels") if key in values}
    for place in places.values():
        if not (real / place).exists():
            pytest.skip(f"needs {place}")
    return values | places, count


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("name", SETS)
def test_real_cutouts_get_scores_pictures_and_rates(real, toy, tmp_path, name):
    values, count = settings_of(real, name)
    settings, stamps = Cutouts.model_validate(values), tmp_path / "stamps.parquet"
    write_table(stamps, prepared_schema(64), prepare_cutouts(settings, 64))
    scored = score_cutouts(stamps, {"toy": [load_network(*toy)]})
    assert len(scored) == count and scored["ok"].all(), scored["reason"].tolist()
    assert np.isfinite(scored["score_toy"]).all() and scored["score_toy"].between(0, 1).all()
    assert scored["rank"].tolist() == list(range(1, count + 1)) and scored["score_toy"].is_monotonic_decreasing
    rates = evaluate_cutouts(scored, ["toy"], Evaluation(bootstrap=50), name)
    labelled = (scored["label"] == 1).sum(), (scored["label"] == 0).sum()
    assert labelled == ((44, 78) if name == "spacewarps" else (0, 0)) and (len(rates) > 0) == (name == "spacewarps")
    page = cutouts_page(
        scored,
        [stamps],
        rates,
        name=name,
        detector="toy",
        seeds=1,
        bands=settings.sources,
        done=what_was_done(settings),
        table="scores.csv",
    )
    assert page.count("data:image/png;base64") == min(count, 120)
    if name == "spacewarps":
        auc = rates[rates["metric"] == "auc"].iloc[0]
        assert auc["resolved"] and 0 <= auc["low"] <= auc["value"] <= auc["high"] <= 1
        assert "i stands in for z" in page and "g, r, i as blue" in page and "44 lenses and 78 controls" in page
        assert scored["ra"].notna().all()  # from the table of labels


def test_a_head_is_fitted_on_real_galaxies_and_judges_each_by_a_fold_without_it(real, toy, tmp_path):
    """A toy network knows nothing, so that the measures of the rings carry the head: 0.72 ± 0.05 with ten folds."""
    values, _ = settings_of(real, "spacewarps")
    sky, stamps = tmp_path / "sky.parquet", tmp_path / "stamps.parquet"
    write_table(sky, real_sky_schema(64), prepare_real_sky(RealSky.model_validate(values), 64))
    write_table(stamps, prepared_schema(64), prepare_cutouts(Cutouts.model_validate(values), 64))
    classifier = load_network(*toy)
    network = classifier.network.model_copy(update={"head": Head(mock_share=0)})
    found = fit_head(Trained(replace(classifier, network=network), [], 1, {}), [sky], []).classifier
    assert (found.head.lenses, found.head.lookalikes) == (44, 78) and 0.6 < found.head.auc < 0.85
    scored = score_cutouts(stamps, {"head": [found]})
    labelled = scored[scored["label"].notna()]
    assert roc_auc_score(labelled["label"], labelled["score_head"]) == pytest.approx(found.head.auc, abs=1e-3)
    assert not scored["learnt_head"].any()


def test_magnitudes_of_resampled_cutouts_are_those_of_the_sky(real, tmp_path):
    """Galaxies within 2″: none is brighter than r = 15, none fainter than 24, whatever the survey's pixels and zero point."""
    for name in (n for n in SETS if not n.startswith("nonlenses")):  # fields without a galaxy in the middle
        values, _ = settings_of(real, name)
        for table in prepare_cutouts(Cutouts.model_validate(values), 64):
            images = table["image"].combine_chunks().to_numpy_ndarray()
            flux = images[:, 1, 24:40, 24:40].sum((1, 2), dtype=float)
            magnitude = 22.5 - 2.5 * np.log10(np.maximum(flux, 1e-9))
            assert ((magnitude > 15) & (magnitude < 24)).mean() > 0.9, (name, magnitude)


@pytest.mark.parametrize("name", ["dr10", "spacewarps"])
def test_one_command_scores_a_real_set(real, toy, project, name):
    values, count = settings_of(real, name)
    config = write_run(project.folder)
    own = project.folder / "results/detectors/own/toy/seed-1"
    own.mkdir(parents=True)
    for path in toy:
        shutil.copy(path, own)
    given = values["path"] if name == "dr10" else json.dumps(values)
    project.snakemake("--config", f"cutouts={given}", config=config, cores=1)
    folder = project.folder / "results/cutouts" / ("dr10" if name == "dr10" else "spacewarps-cfhtls-gri")
    scored = pd.read_csv(folder / "scores.csv")
    assert len(scored) == count and np.isfinite(scored["score_toy"]).all() and scored["ra"].notna().all()
    assert (folder / "toy.html").read_text().count("data:image/png;base64") == min(count, 120)
    assert (len(pd.read_csv(folder / "rates.csv")) > 0) == (name == "spacewarps")
