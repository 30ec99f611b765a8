"""Networks of bands: every architecture and way of scalars trains, repeats, survives SIGKILL, is saved and scores the same bits."""

import json
import logging
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.network import PRESETS, Network
from darkhaloscope.core.files import sha256
from darkhaloscope.core.tables import TableError
from darkhaloscope.detectors.schema import LENS_SCORES, scores_schema
from darkhaloscope.learning.backbones import build_backbone
from darkhaloscope.learning.calibration import fit_calibration
from darkhaloscope.learning.finish import calibrate
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.networks import build_network, describe_network
from darkhaloscope.learning.scaling import SCALARS, LearningError
from darkhaloscope.learning.score import score_split, score_stamps
from darkhaloscope.learning.splits import read_split
from darkhaloscope.learning.weights import load_network, save_network
from darkhaloscope.stamps.rows import bands_of
from unit.learning.band_shards import band_columns, write_band_shards
from unit.learning.interrupted import train_until


def bands(architecture="slim", training=None, **keys):
    settings = {
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "shift_pixels": 0.3,
        "window_stamps": 256,
        "scratch_gb": 0,
        **(training or {}),
    }
    return Network.model_validate({"architecture": architecture, "channels": "bands", "width": 4, "training": settings, **keys})


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return {
        "train": write_band_shards(folder, band_columns(320, signal=0.12), [0, 150, 320], "train", row_group=40),
        "validation": write_band_shards(folder, band_columns(160, first=1000, signal=0.12), [0, 160], "validation"),
    }


@pytest.fixture(scope="module")
def trained(splits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    network = bands(scalars="late", calibration="isotonic")
    result = train_network(splits["train"], splits["validation"], network, 1, folder / "checkpoints", 1)
    result = calibrate(result, splits["validation"])
    save_network(result, folder / "weights.safetensors", folder / "network.json")
    return result, folder


# --- architectures


@pytest.mark.parametrize("scalars", ["none", "early", "late", "branch"])
@pytest.mark.parametrize("architecture", ["slim", "deep_baseline", "flux_baseline", "toy"])
def test_small_architectures_take_scalars_in_every_way(architecture, scalars):
    module = build_network(bands(architecture, scalars=scalars)).eval()
    images, values = torch.randn(3, 3, 32, 32), torch.randn(3, len(SCALARS))
    given = module(images, values)
    assert given.shape == (3, 2)
    # Scalars change the outcome where they are used, and unknown ones count as the training mean, 0 here.
    assert torch.equal(given, module(images, torch.zeros_like(values))) == (scalars == "none")
    assert torch.equal(module(images, torch.full_like(values, torch.nan)), module(images))
    # The features are all that the last layer sees.
    assert torch.equal(module.head(module.features(images, values)), given)


@pytest.mark.parametrize(
    ("architecture", "parameters", "last"),
    # Published sizes less the 1000-class head, less and plus the stems: ResNet-18 11,689,512 − 513,000 − 9,408 + 1,728;
    # ConvNeXt-Tiny 28,589,128 − 769,000 − 4,608 + 1,152; EfficientNet-B0 5,288,548 − 1,281,000.
    [("resnet18", 11_168_832, 8), ("convnext_tiny", 27_816_672, 4), ("efficientnet_b0", 4_007_548, 4)],
)
def test_presets_have_their_published_sizes_and_see_64_pixels_as_meant(architecture, parameters, last):
    with torch.device("meta"):
        backbone, features = build_backbone(architecture, 3, 0)
        assert sum(p.numel() for p in backbone.parameters()) == parameters
        maps = backbone.forward_features(torch.zeros(1, 3, 64, 64))
        assert maps.shape[-2:] == (last, last)
        assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, features)


def test_any_timm_architecture_by_name_and_unknown_ones_in_words():
    assert build_network(bands("timm:resnet10t")).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 2)
    # Names are checked ahead of a run, by the list of the pinned timm; a site may have another one.
    elsewhere = bands("timm:resnet10t").model_copy(update={"architecture": "timm:resnet10x"})
    with pytest.raises(LearningError, match="no architecture `resnet10x`"):
        build_network(elsewhere)
    assert build_network(Network(architecture="timm:resnet10t", channels="flux")).eval()(torch.zeros(1, 3, 48, 48)).shape == (1, 2)


def test_describing_counts_multiplications_of_the_slim_network():
    w, n = 4, 64 * 64
    count = 27 * w * n / 4 + 2 * 9 * w * w * n / 4  # stem and first block at 32²
    count += (9 * w * 2 * w + 9 * 4 * w * w + 2 * w * w) * n / 16 + (9 * 2 * w * 4 * w + 9 * 16 * w * w + 8 * w * w) * n / 64
    assert describe_network(bands(), 64)["multiply_adds"] == count + 8 * w * 2


def test_the_stretch_is_in_the_weights(trained, splits):
    _, folder = trained
    tensors = load_file(folder / "weights.safetensors")
    described = json.loads((folder / "network.json").read_text())
    for name in ("softening", "offset", "scale"):
        assert np.allclose(tensors[f"stretch.{name}"], described["normalisation"][name][:3], rtol=1e-6)
    assert np.allclose(tensors["scalar_offset"], described["normalisation"]["offset"][3:], rtol=1e-6)
    # Nanomaggies go in: the module alone gives the scores.
    split = read_split(splits["validation"], bands(), normalisation=load_network(*_files(folder)).normalisation)
    with torch.inference_mode():
        logits = load_network(*_files(folder)).module(torch.from_numpy(split.images.resident), torch.from_numpy(split.stamps.scalars))
    found = score_split(splits["validation"], load_network(*_files(folder)))
    assert np.allclose((logits[:, 1] - logits[:, 0]).numpy(), found.margins, atol=1e-4)


def test_the_stamp_stretch_needs_no_constants():
    module = build_network(bands(scaling={"bands": "stamp"})).eval()
    images = torch.randn(4, 3, 32, 32)
    stretched = module.stretch(images)
    for band in stretched.flatten(2).unbind(1):
        values = np.sort(band.numpy(), axis=1)
        assert np.all(values[:, 511] == 0)  # torch's median is the lower of the two in the middle
    assert torch.allclose(stretched, module.stretch(5 * images + 2), atol=1e-4)


# --- training


def test_it_learns_and_the_history_is_that_of_the_scores(trained, splits):
    result, folder = trained
    best = result.history[result.best_epoch - 1]
    found = score_split(splits["validation"], load_network(*_files(folder)))
    assert best["val_auc"] > 0.85
    assert roc_auc_score(found.table["label"].to_numpy(), found.margins) == pytest.approx(best["val_auc"], abs=1e-3)
    assert result.counts == {"training": 320, "validation": 160}


def test_training_repeats_to_the_bit_whatever_the_shards_and_threads(trained, splits, tmp_path):
    """320 stamps are more than the window of 256 here: the order hangs on row groups, so shards keep theirs."""
    _, folder = trained
    again = train_network(splits["train"], splits["validation"], bands(scalars="late", calibration="isotonic"), 1, tmp_path / "c", 1)
    save_network(calibrate(again, splits["validation"]), tmp_path / "w.safetensors", tmp_path / "n.json")
    assert sha256(tmp_path / "w.safetensors") == sha256(folder / "weights.safetensors")
    assert sha256(tmp_path / "n.json") == sha256(folder / "network.json")
    within = bands(training={"epochs": 1, "window_stamps": 1000})
    other = write_band_shards(tmp_path, band_columns(320, signal=0.12), [0, 7, 320], "other", row_group=100)[::-1]
    digests = []
    for k, paths in enumerate((splits["train"], other)):
        save_network(train_network(paths, splits["validation"], within, 1, tmp_path / f"d{k}", 1), tmp_path / f"{k}.s", tmp_path / f"{k}.j")
        digests.append(sha256(tmp_path / f"{k}.s"))
    assert digests[0] == digests[1]


def test_sigkill_within_an_epoch_changes_no_bit(trained, splits, tmp_path, caplog):
    _, folder = trained
    network = bands(scalars="late", calibration="isotonic")
    # An epoch reads 10 training batches and 1 of validation: call 28 is in the third epoch.
    ended = train_until(signal.SIGKILL, 28, "darkhaloscope.learning.streaming.Batches", splits, network, tmp_path)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with caplog.at_level(logging.INFO):
        resumed = train_network(splits["train"], splits["validation"], network, 1, tmp_path / "checkpoints", 1)
    assert "resuming after epoch 2 of 4" in caplog.text
    save_network(calibrate(resumed, splits["validation"]), tmp_path / "w.safetensors", tmp_path / "n.json")
    assert sha256(tmp_path / "w.safetensors") == sha256(folder / "weights.safetensors")


def test_a_checkpoint_of_other_stamps_is_not_used(splits, tmp_path, caplog):
    network = bands(training={"epochs": 1})
    train_network(splits["train"], splits["validation"], network, 1, tmp_path / "c", 1)
    columns = band_columns(320, signal=0.12)
    columns["image"][5] += 0.01
    other = write_band_shards(tmp_path, columns, [0, 150, 320], "other", row_group=40)
    with caplog.at_level(logging.WARNING):
        train_network(other, splits["validation"], network, 1, tmp_path / "c", 1)
    assert "belongs to other stamps" in caplog.text


def test_weights_of_stamps_count_in_the_loss(splits, tmp_path):
    """A loss of weights w is the mean of w × each: with all weight on controls the network calls everything a control."""
    from darkhaloscope.learning.index import Emphasis

    controls = np.arange(0, 320, 2)
    network = bands(training={"epochs": 2})
    result = train_network(splits["train"], splits["validation"], network, 1, tmp_path / "c", 1, emphasis=Emphasis(controls, 1e4))
    found = score_split(splits["validation"], result.classifier)
    plain = train_network(splits["train"], splits["validation"], network, 1, tmp_path / "d", 1)
    assert (found.margins > 0).mean() < 0.05 < (score_split(splits["validation"], plain.classifier).margins > 0).mean()


# --- scores and calibration


def test_scores_are_the_same_bits_for_any_shards(trained, splits, tmp_path):
    _, folder = trained
    columns = band_columns(160, first=1000, signal=0.12)
    other = write_band_shards(tmp_path, columns, [0, 1, 90, 160], "other", row_group=33)[::-1]
    first, second = (score_stamps(p, *_files(folder), dataset="d", detector="n") for p in (splits["validation"], other))
    for name in ("score", "calibrated", "number"):
        assert first[name].to_pylist() == second[name].to_pylist()
    table = scores_schema(first).table(first)
    assert scores_schema(first) is LENS_SCORES and table.num_rows == 160


def test_stamps_that_cannot_be_scored_are_left_out_and_counted(trained, tmp_path, caplog):
    _, folder = trained
    columns = band_columns(30, first=5000)
    columns["image"][3, 0, 0, 0] = np.nan
    columns["cutout_ok"][4] = False
    paths = write_band_shards(tmp_path, columns, [0, 30])
    with caplog.at_level(logging.INFO):
        found = score_stamps(paths, *_files(folder), dataset="d", detector="n")
    assert sorted(found["number"].to_pylist()) == [n for n in range(5000, 5030) if n not in (5003, 5004)]
    assert "1 stamps not scored: cutout not ok" in caplog.text and "not finite" in caplog.text
    with pytest.raises(LearningError, match="20×20 pixels, but the network was trained on 16×16"):
        score_stamps(write_band_shards(tmp_path, band_columns(3, size=20), [0, 3], "big"), *_files(folder), dataset="d", detector="n")


def test_temperature_is_the_maximum_likelihood_one():
    rng = np.random.default_rng(3)
    margins = rng.normal(0, 6, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-margins / 2.5))).astype(int)
    fitted = fit_calibration(margins, labels, "temperature")
    # A logistic regression without intercept or penalty is the same model.
    slope = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(margins[:, None], labels).coef_[0, 0]
    assert fitted.margins[0] == pytest.approx(1 / slope, rel=1e-4)
    assert fitted.margins[0] == pytest.approx(2.5, rel=0.1)
    best = minimize(lambda t: np.logaddexp(0, -(2 * labels - 1) * margins / t[0]).mean(), [1.0], method="Nelder-Mead").x[0]
    assert fitted.margins[0] == pytest.approx(best, rel=1e-3)


def test_isotonic_calibration_says_neither_never_nor_always():
    rng = np.random.default_rng(5)
    margins = np.concatenate([rng.normal(-2, 1, 300), rng.normal(2, 1, 200)])
    labels = np.repeat([0, 1], [300, 200])
    fitted = fit_calibration(margins, labels, "isotonic")
    below, above = np.sum(margins < margins[labels == 1].min()), np.sum(margins > margins[labels == 0].max())
    assert fitted.apply(-1e9) == pytest.approx(1 / (below + 2)) and fitted.apply(1e9) == pytest.approx(1 - 1 / (above + 2))
    # Other stamps of the same kind lie beyond the ends: their log loss stays finite, and below that of no calibration.
    other, truth = np.concatenate([rng.normal(-2, 1, 3000), rng.normal(2, 1, 2000)]), np.repeat([-1, 1], [3000, 2000])
    p = fitted.apply(other)
    assert -np.log(np.where(truth > 0, p, 1 - p)).mean() < np.logaddexp(0, -truth * other).mean()
    # In between it is scikit-learn's.
    between = (margins > margins[labels == 1].min()) & (margins < margins[labels == 0].max())
    plain = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(margins, labels).predict(margins[between])
    inner = (plain > 1 / (below + 2)) & (plain < 1 - 1 / (above + 2))
    assert inner.sum() > 20
    np.testing.assert_allclose(fitted.apply(margins[between])[inner], plain[inner], atol=1e-12)


def test_isotonic_calibration_survives_the_json(trained, splits):
    result, folder = trained
    found = score_split(splits["validation"], load_network(*_files(folder)))
    assert np.array_equal(found.calibrated, result.classifier.calibration.apply(found.margins)) and np.ptp(found.calibrated) > 0
    assert load_network(*_files(folder)).calibration == result.classifier.calibration
    described = json.loads((folder / "network.json").read_text())
    described["calibration"]["margins"][0] = 1e9
    (folder / "broken.json").write_text(json.dumps(described))
    with pytest.raises(LearningError, match="calibration in this description"):
        load_network(folder / "weights.safetensors", folder / "broken.json")


# --- starting from other weights


def test_pretrained_weights_from_a_file(tmp_path, caplog):
    donor, _ = build_backbone("timm:resnet10t", 3, 0)
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    network = bands("timm:resnet10t", pretrained=str(tmp_path / "donor.safetensors"), training={"epochs": 1})
    from darkhaloscope.learning.pretrained import start_from_file

    module = build_network(network)
    with caplog.at_level(logging.INFO):
        start_from_file(module, network)
    assert all(torch.equal(t, donor.state_dict()[n]) for n, t in module.backbone.state_dict().items())
    assert "gives 100.0% of the feature extractor" in caplog.text
    # A checkpoint of Lightning whose loss has a weight.
    lightning = {f"model.{n}": t for n, t in donor.state_dict().items()} | {"criterion.pos_weight": torch.tensor(2.0)}
    torch.save({"state_dict": lightning}, tmp_path / "last.ckpt")
    module, weighted = build_network(network), bands("timm:resnet10t", pretrained=str(tmp_path / "last.ckpt"))
    start_from_file(module, weighted)
    assert all(torch.equal(t, donor.state_dict()[n]) for n, t in module.backbone.state_dict().items())
    stem = bands("resnet18", pretrained=str(tmp_path / "donor.safetensors"))
    with pytest.raises(LearningError, match="names and shapes must agree"):
        start_from_file(build_network(stem), stem)


def test_a_hub_without_a_network_says_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LearningError, match="cannot be fetched from timm's hub.*give their file as `pretrained`"):
        build_network(bands("timm:resnet10t", pretrained="hub:resnet10t.c3_in1k"))


def test_presets_are_all_built():
    assert set(PRESETS) == {"slim", "resnet18", "convnext_tiny", "efficientnet_b0"}
    for name in PRESETS:
        with torch.device("meta"):
            build_network(bands(name))


def _files(folder):
    return folder / "weights.safetensors", folder / "network.json"


def test_a_network_says_the_bands_of_its_stamps_and_takes_no_mixture(tmp_path):
    columns = [band_columns(n, first=first, signal=0.3) | {"bandset": np.full(n, "gri")} for n, first in ((48, 0), (24, 1000))]
    shards = [write_band_shards(tmp_path, c, [0, len(c["number"])], f"s{k}") for k, c in enumerate(columns)]
    toy = Network.model_validate({"architecture": "toy", "channels": "bands", "training": {"epochs": 1, "batch_size": 16, "scratch_gb": 0}})
    trained = train_network(*shards, toy, 1, tmp_path / "checkpoints", 1)
    save_network(trained, tmp_path / "n.safetensors", tmp_path / "n.json")
    assert load_network(tmp_path / "n.safetensors", tmp_path / "n.json").bands == ("g", "r", "i")
    other = write_band_shards(tmp_path, band_columns(10), [0, 10], "other")
    assert bands_of(other) == ("g", "r", "z")
    with pytest.raises(TableError, match="different bands: gri .*, grz .*make the stamps of one dataset again"):
        bands_of([*shards[0], *other])
