"""Heads fitted on real galaxies: no object is judged by a head that learnt from it, the fit is sklearn's, and the same bits come again."""

import dataclasses
import json
import logging
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.cutouts import RealSky
from darkhaloscope.config.experiment import Explanations
from darkhaloscope.config.network import Head, Network
from darkhaloscope.core.files import sha256
from darkhaloscope.core.tables import write_table
from darkhaloscope.learning.altered import all_bands, committee_margins, labelled_bands, sample_bands
from darkhaloscope.learning.augment import orient_images
from darkhaloscope.learning.cutouts import score_cutouts
from darkhaloscope.learning.explain import explain_stamps
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.fit_head import fit_head
from darkhaloscope.learning.head import Objects, objects_of
from darkhaloscope.learning.rings import EDGES, MEASURES, SECTORS, SOFTENING, ring_measures
from darkhaloscope.learning.scaling import LearningError
from darkhaloscope.learning.score import features_of, margins_of, score_split
from darkhaloscope.learning.weights import load_network, load_trained, save_network
from darkhaloscope.surveys.real_sky import prepare_real_sky, real_sky_schema, sky_cells
from unit.learning.band_shards import band_columns, write_band_shards

SIZE, REAL, FOLDS = 32, 120, 4
SETTINGS = {
    "architecture": "slim",
    "channels": "bands",
    "width": 4,
    "scaling": {"relative_to_core": True},
    "training": {"epochs": 4, "batch_size": 32, "learning_rate": 5e-3},
    "head": {"folds": FOLDS},
}


def write_sky(folder, images, lens, name="real"):
    """Write real galaxies, as rule prepare_real_sky does, all over the sky."""
    rng = np.random.default_rng(4)
    names = [f"real-{k:03d}" for k in range(len(images))]
    np.savez(folder / f"{name}.npz", image=images, name=np.array(names))
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, len(images))))
    pd.DataFrame({"id": names, "ra": rng.uniform(0, 360, len(images)), "dec": dec, "label": lens}).to_csv(
        folder / f"{name}.csv", index=False
    )
    settings = RealSky(path=str(folder / f"{name}.npz"), labels=str(folder / f"{name}.csv"))
    path = folder / f"{name}.parquet"
    write_table(path, real_sky_schema(SIZE), prepare_real_sky(settings, SIZE))
    return path


@pytest.fixture(scope="module")
def galaxies():
    """Images of real galaxies and which are lenses: these have a ring in r, which no training stamp has."""
    images = band_columns(REAL, size=SIZE, first=5000)["image"]
    lens = np.arange(REAL) % 3 == 0
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    ring = np.exp(-((np.hypot(axis[:, None], axis) * 0.262 - 2.1) ** 2) / (2 * 0.3**2))
    images[lens, 1] += (0.04 * ring).astype(np.float32)
    return images, lens.astype(int)


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock")
    return [
        write_band_shards(folder, band_columns(n, size=SIZE, first=first, signal=0.4), [0, n], name)
        for name, n, first in (("train", 240, 0), ("validation", 120, 1000))
    ]


@pytest.fixture(scope="module")
def trained(mock, tmp_path_factory):
    return train_network(*mock, Network.model_validate(SETTINGS), 1, tmp_path_factory.mktemp("trained") / "c", 1)


@pytest.fixture(scope="module")
def headed(trained, galaxies, mock, tmp_path_factory):
    """The network with its head, and the table of real galaxies."""
    sky = write_sky(tmp_path_factory.mktemp("sky"), *galaxies)
    return fit_head(trained, [sky], mock[0]), sky


# --- measures of rings


def test_measures_are_those_of_the_formula():
    images = band_columns(6, size=64, signal=0.3)["image"].astype(np.float64)
    found = dict(zip(MEASURES, ring_measures(torch.from_numpy(images)).numpy().T, strict=True))
    axis = (np.arange(64) - 31.5) * 0.262
    x, y = np.meshgrid(axis, axis)
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x))
    mean = images[:, :, radius <= 0.8].mean(2)
    assert len(found) == 4 * (len(EDGES) - 1)
    for low, high in pairwise(EDGES):
        ring = (radius > low) & (radius <= high)
        light = np.arcsinh(images[:, :, ring].mean(2) / mean / SOFTENING)
        within = [ring & (np.abs((angle - 45 * k + 180) % 360 - 180) < 22.5) for k in range(SECTORS)]
        assert sum(part.sum() for part in within) == ring.sum()
        parts = np.stack([(images[:, 0, p].mean(1) / mean[:, 0] - images[:, 1, p].mean(1) / mean[:, 1]) for p in within], 1)
        wanted = (light[:, 1], light[:, 0] - light[:, 1], light[:, 2] - light[:, 1], np.arcsinh(parts.max(1) / SOFTENING))
        for name, value in zip(("light_r", "blue", "red", "bluest_sector"), wanted, strict=True):
            np.testing.assert_allclose(found[f"{name}_{low:g}_{high:g}"], value, atol=1e-9)


def test_turns_reflections_and_zero_points_change_no_measure():
    images = torch.from_numpy(band_columns(4, size=33, signal=0.3)["image"].astype(np.float64))
    own = ring_measures(images)
    for code in range(8):
        assert torch.allclose(ring_measures(orient_images(images, torch.full((4,), code))), own, atol=1e-9)
    assert torch.allclose(ring_measures(images * torch.tensor([3.0, 0.5, 7.0])[:, None, None].double()), own, atol=1e-9)
    # 16 pixels reach 2.8″ in the corners: no light is measured in the last ring.
    small = ring_measures(images[:, :, :16, :16])
    assert torch.isfinite(small).all() and (small == 0).all(0).tolist() == [False] * 12 + [True] * 4 and (own[:, 12:] != 0).all()


# --- the fit


def test_heads_are_sklearns_regressions_on_the_other_folds(headed, mock):
    """An independent fit: another solver, features standardised by hand, an offset of the mock stamps as a column of its own."""
    result, sky = headed
    classifier, fit = result.classifier, result.classifier.head
    stamps, images = sample_bands([sky], REAL)
    table = pq.read_table(sky, columns=["stamp_id", "number", "label"]).to_pandas().set_index("number").loc[stamps.numbers]
    folds, label = np.array([dict(zip(fit.names, fit.folds, strict=True))[n] for n in table["stamp_id"]]), table["label"].to_numpy()
    real = features_of(classifier, images, stamps.scalars)
    beside, pixels = sample_bands(mock[0], 2000)
    features = features_of(classifier, pixels, beside.scalars)
    assert real.shape[1] == 8 * 4 + len(MEASURES) and fit.mock == 240 and (fit.lenses, fit.lookalikes) == (40, 80)
    for k in range(FOLDS + 1):
        use = folds != k
        x, y = np.concatenate([real[use], features]), np.concatenate([label[use], beside.labels])
        of_mock = np.repeat([0, 1], [use.sum(), 240])
        weight = np.empty(len(y))
        for d in (0, 1):
            for c in (0, 1):
                these = (of_mock == d) & (y == c)
                weight[these] = use.sum() / 2 / these.sum()
        centred = x.copy()
        for d in (0, 1):
            centred[of_mock == d] -= np.average(x[of_mock == d], 0, weights=weight[of_mock == d])
        scale = np.sqrt(np.average(centred**2, 0, weights=weight))
        scale[scale == 0] = 1
        scale[: 8 * 4] *= np.sqrt(8 * 4 / len(MEASURES))  # features together weigh what the measures do
        other = LogisticRegression(C=fit.strengths[k], tol=1e-10, max_iter=10_000).fit(centred / scale, y, weight)
        wanted = (real - np.average(x[of_mock == 0], 0, weights=weight[of_mock == 0])) / scale @ other.coef_[0] + other.intercept_[0]
        found = real @ classifier.module.weight[k].double().numpy() + float(classifier.module.intercept[k])
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)  # float32 weights, solvers' tolerances
        out = ~use if k < FOLDS else use
        np.testing.assert_allclose(
            margins_of(classifier, images[out], stamps.scalars[out], 1, objects_of(_where(sky, stamps.numbers[out])))
            if k < FOLDS
            else margins_of(classifier, images, stamps.scalars),
            found[out],
            atol=1e-4,
        )


def _where(sky, numbers):
    table = pq.read_table(sky, columns=["stamp_id", "ra", "dec", "number"])
    return table.take([int(np.flatnonzero(table["number"].to_numpy() == n)[0]) for n in numbers])


def test_it_learns_what_real_galaxies_alone_show_and_keeps_what_mock_stamps_taught(headed, trained, mock):
    result, sky = headed
    assert result.classifier.head.auc > 0.9
    lenses, lookalikes = labelled_bands([sky])
    scores = [committee_margins([c], *part) for c in (result.classifier, trained.classifier) for part in (lenses, lookalikes)]
    headed_auc, own_auc = (roc_auc_score([1] * 40 + [0] * 80, np.concatenate(scores[k : k + 2])) for k in (0, 2))
    assert headed_auc == pytest.approx(result.classifier.head.auc, abs=1e-6) and own_auc < 0.8
    for classifier in (result.classifier, trained.classifier):
        found = score_split(mock[1], classifier)
        # Five standard errors above chance.
        assert roc_auc_score(found.table["label"].to_numpy(), found.margins) > 0.75


def test_a_head_has_not_seen_the_galaxies_that_it_judges(headed, trained, galaxies, mock, tmp_path):
    """Other pixels of one fold's galaxies change every head but that fold's: not its weights, not its penalty."""
    result, _ = headed
    images, lens = galaxies
    fit = result.classifier.head
    mine = np.array([fit.folds[fit.names.index(f"real-{k:03d}")] == 2 for k in range(REAL)])
    other = images.copy()
    other[mine] = band_columns(REAL, size=SIZE, first=9000, signal=0.5)["image"][mine]
    again = fit_head(trained, [write_sky(tmp_path, other, lens)], mock[0]).classifier
    assert again.head.folds == fit.folds and again.head.strengths[2] == fit.strengths[2]
    same = [bool(torch.equal(a, b)) for a, b in zip(again.module.weight, result.classifier.module.weight, strict=True)]
    assert same == [k == 2 for k in range(FOLDS + 1)]


def test_pieces_of_sky_share_a_fold_and_folds_share_the_classes(headed):
    fit = headed[0].classifier.head
    folds, cells = np.array(fit.folds), sky_cells(np.array(fit.ra), np.array(fit.dec), list(fit.names))
    assert all(len(set(folds[[c == cell for c in cells]])) == 1 for cell in set(cells))
    lens = np.array([int(name[-3:]) % 3 == 0 for name in fit.names])
    assert np.abs(np.bincount(folds[lens]) - 10).max() <= 2 and np.abs(np.bincount(folds[~lens]) - 20).max() <= 3


def test_the_same_bits_come_again_and_survive_the_files(headed, trained, mock, tmp_path):
    result, sky = headed
    for name, some in (("a", result), ("b", fit_head(trained, [sky], mock[0]))):
        save_network(some, tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json")
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    loaded = load_network(tmp_path / "a.safetensors", tmp_path / "a.json")
    assert loaded.head == result.classifier.head
    np.testing.assert_array_equal(score_split([sky], loaded).margins, score_split([sky], result.classifier).margins)
    described = json.loads((tmp_path / "a.json").read_text())
    assert described["head"]["lenses"] == 40 and len(described["head"]["folds"]) == REAL
    del described["head"]["folds"]
    (tmp_path / "b.json").write_text(json.dumps(described))
    with pytest.raises(LearningError, match="does not hold what scoring needs"):
        load_network(tmp_path / "a.safetensors", tmp_path / "b.json")


def test_a_head_put_on_a_saved_network_is_the_one_fitted_after_training(headed, trained, mock, tmp_path):
    """The network without a head is written, read, and given one, as rule fit_head does: the same bits as by train_network."""
    result, sky = headed
    classifier = trained.classifier
    plain = dataclasses.replace(classifier, network=classifier.network.model_copy(update={"head": None}))
    save_network(dataclasses.replace(trained, classifier=plain), tmp_path / "plain.safetensors", tmp_path / "plain.json")
    again = load_trained(tmp_path / "plain.safetensors", tmp_path / "plain.json")
    assert (again.best_epoch, again.counts) == (trained.best_epoch, trained.counts)
    network = again.classifier.network.model_copy(update={"head": Head(folds=FOLDS)})
    again = fit_head(dataclasses.replace(again, classifier=dataclasses.replace(again.classifier, network=network)), [sky], mock[0])
    for name, some in (("a", result), ("b", again)):
        save_network(some, tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json")
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


# --- who is judged by which head


def test_objects_are_known_by_position_or_by_name(headed):
    fit = headed[0].classifier.head
    ra, dec = np.array(fit.ra[:3]), np.array(fit.dec[:3])
    nobody, unknown = np.array([""] * 3, object), np.full(3, np.nan)
    assert fit.folds_of(Objects(nobody, ra, dec + 1 / 3600)).tolist() == list(fit.folds[:3])
    assert fit.folds_of(Objects(nobody, ra, dec + 2 / 3600)).tolist() == [-1] * 3
    assert fit.folds_of(Objects(np.array(fit.names[:3], object), unknown, unknown)).tolist() == list(fit.folds[:3])
    assert fit.folds_of(Objects(nobody, unknown, unknown)).tolist() == [-1] * 3


def test_cutouts_shards_and_gates_judge_known_objects_by_their_fold(headed):
    result, sky = headed
    classifier = result.classifier
    found = score_split([sky], classifier)
    every = margins_of(classifier, *all_bands(sky)[:2])
    np.testing.assert_array_equal(committee_margins([classifier], *all_bands(sky)), found.margins)
    assert np.abs(found.margins - every).max() > 0.01
    scored = score_cutouts(sky, {"n": [classifier]}).set_index("stamp_id").loc[found.table["stamp_id"].to_pylist()]
    np.testing.assert_allclose(scored["score_n"], found.score, atol=1e-12)
    assert not scored["learnt_n"].any()


def test_mock_stamps_are_judged_by_the_head_of_all_galaxies(headed, mock):
    classifier = headed[0].classifier
    stamps, images = sample_bands(mock[1], 1000)
    with torch.inference_mode():
        logits = classifier.module(torch.from_numpy(images), torch.from_numpy(stamps.scalars)).numpy()
    found = score_split(mock[1], classifier)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], found.margins, atol=1e-4)
    assert (logits[:, 0] == 0).all()


def test_a_head_is_explained_behind_the_stretch(headed, mock):
    """Attributions add up to the margin less that of empty sky with the stamp's own measures, which stay beside the image."""
    classifier = headed[0].classifier
    found = explain_stamps(classifier, mock[1][0], Explanations(steps=32, tolerance=0.05)).attributions
    own = score_split(mock[1], classifier)
    np.testing.assert_allclose(found.margin, own.margins, atol=1e-3)
    away = np.abs(found.values.sum((1, 2, 3)) - (found.margin - found.baseline_margin))
    assert (away[found.complete] <= 0.05 * np.maximum(np.abs(found.margin - found.baseline_margin), 1)[found.complete] + 1e-4).all()
    assert found.complete.mean() > 0.9 and np.ptp(found.baseline_margin) > 0.1


def test_without_turns_or_measures_or_mock_stamps_it_is_smaller(trained, galaxies, mock, tmp_path):
    sky = write_sky(tmp_path, *galaxies)
    settings = Head(folds=FOLDS, measures=False, turned=False, mock_share=0)
    network = trained.classifier.network.model_copy(update={"head": settings})
    plain = dataclasses.replace(trained, classifier=dataclasses.replace(trained.classifier, network=network))
    found = fit_head(plain, [sky], mock[0]).classifier
    images = galaxies[0][:5]
    assert found.head.mock == 0
    np.testing.assert_array_equal(
        features_of(found, images, np.zeros((5, 6), np.float32)), features_of(trained.classifier, images, np.zeros((5, 6), np.float32))
    )


# --- refusals


def test_too_few_galaxies_and_senseless_configs_are_refused_in_words(trained, galaxies, mock, tmp_path):
    sky = write_sky(tmp_path, galaxies[0][:9], galaxies[1][:9], "few")
    with pytest.raises(LearningError, match=r"few\.parquet: 3 real lenses and 6 look-alikes in . pieces of sky, expected at least 4"):
        fit_head(trained, [sky], mock[0])
    with pytest.raises(LearningError, match="there are none: name some in the dataset's `real_sky`"):
        fit_head(trained, [], mock[0])
    with pytest.raises(ValidationError, match="leave out head or real_share"):
        Network(channels="bands", architecture="slim", head={}, training={"real_share": 0.4})
    with pytest.raises(ValidationError, match="head: for channels `bands` alone"):
        Network(channels="flux", head={})
    with pytest.raises(ValidationError, match="used as they are: leave out head"):
        Network(channels="bands", weights="w.safetensors", head={})


def test_a_network_without_a_head_is_left_as_it_is(trained, caplog):
    network = trained.classifier.network.model_copy(update={"head": None})
    plain = dataclasses.replace(trained, classifier=dataclasses.replace(trained.classifier, network=network))
    with caplog.at_level(logging.INFO):
        assert fit_head(plain, [], []) is plain
    assert "head" not in caplog.text
