"""Weights trained elsewhere: read in every common wrapping, recognised, refused in words where they must not or cannot be used."""

import importlib
import logging
import os
import subprocess
import sys
import time
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import softmax
from torch import nn

from darkhaloscope.config.network import Network, Scaling
from darkhaloscope.learning import foreign
from darkhaloscope.learning.band_network import ForeignNetwork
from darkhaloscope.learning.finish import import_network
from darkhaloscope.learning.foreign import Recognised, build_foreign, load_into, read_state, recognise
from darkhaloscope.learning.scaling import LearningError
from darkhaloscope.learning.score import score_stamps
from darkhaloscope.learning.weights import load_network, save_network
from unit.damages import POINTER
from unit.learning.band_shards import band_columns, write_band_shards

timm = importlib.import_module("timm")  # after darkhaloscope.learning, which makes torchvision importable beside a CPU torch
ROOT = Path(__file__).parents[3]


class Opaque:
    """Something that only unpickling could bring back."""


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(1)
    return timm.create_model("resnet10t", in_chans=3, num_classes=2).eval()


def wrapped(state, how):
    return {
        "bare": state,
        "model": {"model": state, "epoch": 3},
        "lightning": {"state_dict": {f"model.{n}": t for n, t in state.items()}, "epoch": 3},
        "parallel": {"state_dict": {f"module.{n}": t for n, t in state.items()}},
        "compiled": {"model_state_dict": {f"module._orig_mod.{n}": t for n, t in state.items()}},
        "nested": {"checkpoint": 1, "model": {"state_dict": state}},
        "checkpoint": {"checkpoint": {"model_state": {"params": state}}},
    }[how]


@pytest.mark.parametrize("how", ["bare", "model", "lightning", "parallel", "compiled", "nested", "checkpoint"])
def test_checkpoints_are_read_in_every_wrapping(small, how, tmp_path):
    torch.save(wrapped(small.state_dict(), how), tmp_path / "w.pt")
    state = read_state(tmp_path / "w.pt")
    assert list(state) == list(small.state_dict())
    assert all(torch.equal(t, small.state_dict()[n]) for n, t in state.items())


def beside(state, how):
    """A state dict as trainings leave it, with tensors that are no part of the network, or under other names."""
    model = {f"model.{n}": t for n, t in state.items()}
    body = {f"encoder.{n}": t for n, t in state.items() if not n.startswith("fc.")}
    return {
        "loss": model | {"criterion.pos_weight": torch.tensor(2.0)},
        "focal loss": {"loss_fn.alpha": torch.ones(2), **model},
        "metrics": model | {"train_acc.tp": torch.tensor(3), "val_auroc.confmat": torch.zeros(20, 2, 2, dtype=torch.long)},
        "bare beside a loss": {**state, "criterion.weight": torch.ones(2)},
        "another wrapper": {f"student.{n}": t for n, t in state.items()} | {"temperature": torch.tensor(1.0)},
        "encoder and head": body | {"head.1.weight": state["fc.weight"], "head.1.bias": state["fc.bias"]},
    }[how]


@pytest.mark.parametrize("how", ["loss", "focal loss", "metrics", "bare beside a loss", "another wrapper", "encoder and head"])
def test_a_network_is_recognised_whatever_its_training_keeps_beside_it(how, tmp_path, caplog):
    torch.manual_seed(4)
    network = timm.create_model("resnet18", in_chans=3, num_classes=1)
    torch.save({"state_dict": beside(network.state_dict(), how)}, tmp_path / "last.ckpt")
    started = time.monotonic()
    with caplog.at_level(logging.INFO):
        state = read_state(tmp_path / "last.ckpt")
        found = recognise(state, tmp_path / "last.ckpt")
    assert (found.library, found.name, found.outputs) == ("timm", "resnet18", 1) and time.monotonic() - started < 60
    rebuilt = build_foreign(found)
    load_into(rebuilt, state)
    assert all(torch.equal(t, network.state_dict()[n]) for n, t in rebuilt.state_dict().items())
    if how == "loss":
        assert (
            "without prefix `model.`" in caplog.text and "left aside, being of the loss or of metrics: criterion.pos_weight" in caplog.text
        )


def test_architectures_whose_first_convolution_is_called_otherwise_are_not_tried():
    with torch.device("meta"):
        state = timm.create_model("vit_tiny_patch16_224", num_classes=2).state_dict()
    tried = [name for _, name in foreign._candidates(state)]
    assert "vit_tiny_patch16_224" in tried and "resnet18" not in tried and "vit_base_patch32_224" not in tried
    assert len(tried) < len(timm.list_models()) / 3


def test_damaged_weights_are_named_with_what_to_do(small, tmp_path):
    """Each error names the file, what was found, and the remedy."""
    torch.save(small.state_dict(), tmp_path / "whole.pt")
    save_file(small.state_dict(), tmp_path / "whole.safetensors")
    bytes_of = {name: (tmp_path / f"whole.{name}").read_bytes() for name in ("pt", "safetensors")}
    damaged = {
        "empty.pt": (b"", "is empty (0 bytes)"),
        "empty.safetensors": (b"", "is empty (0 bytes)"),
        "page.pt": (b"<!DOCTYPE html><html></html>", "a web page and not weights"),
        "page.safetensors": (b"\n<html><title>Sign in</title></html>", "a web page and not weights"),
        "cut.pt": (bytes_of["pt"][:5000], "not whole"),
        "cut.safetensors": (bytes_of["safetensors"][:5000], "not whole"),
        "fits.pt": (b"SIMPLE  =                    T", "neither safetensors nor a PyTorch file"),
        "latin.pt": ("größe,schärfe".encode("latin-1"), "neither safetensors nor a PyTorch file"),
        "short.safetensors": (b"\x01\x02", "neither safetensors nor a PyTorch file"),
    }
    for name, (content, words) in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LearningError) as error:
            read_state(tmp_path / name)
        assert name in str(error.value) and words in str(error.value), f"{name}: {error.value}"
        assert any(remedy in str(error.value) for remedy in ("fetch", "give the path"))
    with pytest.raises(LearningError, match="is a folder"):
        read_state(tmp_path)
    for name, held, words in (
        ("list.pt", [1, 2], "holds a list"),
        ("none.pt", {}, "it has nothing"),
        ("one.pt", torch.ones(3), "holds a Tensor"),
    ):
        torch.save(held, tmp_path / name)
        with pytest.raises(LearningError, match=words):
            read_state(tmp_path / name)
    torch.save({"criterion.pos_weight": torch.ones(1)}, tmp_path / "loss.pt")
    with pytest.raises(LearningError, match="holds no tensors of a network, only criterion.pos_weight"):
        read_state(tmp_path / "loss.pt")


@pytest.mark.parametrize("first", ["timm", "torchmetrics", "lightning.pytorch", "torchvision"])
def test_timm_is_imported_after_anything_where_the_package_is_installed(first, tmp_path):
    """As pip installs it, the package has an entry point that torch loads by itself."""
    installed = tmp_path / "darkhaloscope-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: darkhaloscope\nVersion: 1\n")
    [(name, place)] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
        "torch.backends"
    ].items()
    (installed / "entry_points.txt").write_text(f"[torch.backends]\n{name} = {place}\n")
    path = os.pathsep.join([str(ROOT / "workflow/scripts"), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", f"import {first}, timm"], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_safetensors_are_read_whatever_their_name(small, tmp_path):
    save_file(small.state_dict(), tmp_path / "weights.bin")
    assert set(read_state(tmp_path / "weights.bin")) == set(small.state_dict())


def test_what_needs_unpickling_is_refused(small, tmp_path):
    torch.save({"model": small.state_dict(), "args": Opaque()}, tmp_path / "w.pt")
    with pytest.raises(LearningError, match=r"w.pt: holds Python objects and not only tensors.*save model.state_dict\(\)"):
        read_state(tmp_path / "w.pt")
    torch.save(small, tmp_path / "module.pt")
    with pytest.raises(LearningError, match="nothing is unpickled here"):
        read_state(tmp_path / "module.pt")


@pytest.mark.parametrize("kind", ["sparse", "complex", "meta", "quantised"])
def test_tensors_that_are_no_plain_numbers_are_refused_by_name(small, kind, tmp_path):
    state = small.state_dict()
    name = next(n for n, t in reversed(state.items()) if t.ndim == 2)
    change = {
        "sparse": torch.Tensor.to_sparse,
        "complex": lambda t: t.to(torch.complex64),
        "meta": lambda t: t.to("meta"),
        "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls quantised tensors deprecated
        torch.save({**state, name: change(state[name])}, tmp_path / "w.pt")
        with pytest.raises(
            LearningError, match=rf"w\.pt: {name} is sparse, quantised, complex or without values, expected plain numbers; save"
        ):
            read_state(tmp_path / "w.pt")


def test_a_torchscript_archive_is_called_one(small, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own format deprecated
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "w.pt"))
    with pytest.raises(LearningError, match=r"w\.pt: a TorchScript archive.*save model\.state_dict\(\)"):
        read_state(tmp_path / "w.pt")


def test_what_is_wrong_with_weights_is_said_once(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"")
    with pytest.raises(LearningError) as error:
        read_state(tmp_path / "w.pt")
    assert str(error.value).count("w.pt") == 1 and "most likely" not in str(error.value)


def test_averaged_weights_that_are_not_used_are_named(small, tmp_path, caplog):
    torch.save({"state_dict": small.state_dict(), "state_dict_ema": small.state_dict()}, tmp_path / "w.pt")
    with caplog.at_level(logging.INFO):
        read_state(tmp_path / "w.pt")
    assert "weights of `state_dict` are used, those of `state_dict_ema` are not" in caplog.text


@pytest.mark.parametrize("average", ["ema_model.", "model_ema.module.", "averaged.", "teacher."])
def test_an_average_within_a_state_dict_is_left_aside_and_told(small, average, tmp_path, caplog):
    state = small.state_dict()
    both = {f"model.{n}": t for n, t in state.items()} | {f"{average}{n}": t + 1 for n, t in state.items()}
    torch.save({"state_dict": both}, tmp_path / "w.pt")
    with caplog.at_level(logging.INFO):
        found = read_state(tmp_path / "w.pt")
    assert list(found) == list(state) and all(torch.equal(t, state[n]) for n, t in found.items())
    assert f"weights of `model` are used, those of `{average.split('.')[0]}` are not" in caplog.text


def test_two_networks_of_which_none_is_meant_are_refused(small, tmp_path):
    torch.save({f"{first}.{n}": t for first in ("one", "other") for n, t in small.state_dict().items()}, tmp_path / "w.pt")
    with pytest.raises(LearningError, match=r"w\.pt: holds networks of the same tensors under one, other, expected one; save"):
        read_state(tmp_path / "w.pt")


def test_other_files_are_refused_in_words(tmp_path):
    (tmp_path / "pointer.pt").write_bytes(POINTER)
    with pytest.raises(LearningError, match=r"pointer\.pt: .*expected \(it is a Git LFS pointer; `git lfs pull` fetches"):
        read_state(tmp_path / "pointer.pt")
    (tmp_path / "text.pt").write_text("not weights at all")
    with pytest.raises(LearningError, match="neither safetensors nor a PyTorch file|holds Python objects"):
        read_state(tmp_path / "text.pt")
    with pytest.raises(LearningError, match="does not exist"):
        read_state(tmp_path / "none.pt")
    torch.save({"epoch": 3, "optimizer": {"lr": 1.0}}, tmp_path / "epoch.pt")
    with pytest.raises(LearningError, match="no named tensors.*epoch, optimizer"):
        read_state(tmp_path / "epoch.pt")


def cifar_resnet18():
    """ResNet-18 as small images have it: 3×3 stem, no max-pool, dropout ahead of one logit."""
    module = timm.create_model("resnet18", in_chans=3, num_classes=1)
    module.conv1, module.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    module.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 1))
    return module


def patches_of_two():
    """ConvNeXt-Tiny with 2×2 patches instead of 4×4."""
    module = timm.create_model("convnext_tiny", num_classes=2)
    module.stem[0] = nn.Conv2d(3, 96, 2, stride=2)
    return module


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: timm.create_model("resnet18", in_chans=3, num_classes=2), Recognised("timm", "resnet18", 0, 3, 2)),
        (cifar_resnet18, Recognised("timm", "resnet18", 3, 3, 1)),
        (patches_of_two, Recognised("timm", "convnext_tiny", 2, 3, 2)),
        (lambda: timm.create_model("efficientnet_b0", num_classes=1), Recognised("timm", "efficientnet_b0", 0, 3, 1)),
        (lambda: timm.create_model("resnet10t", in_chans=5, num_classes=3), Recognised("timm", "resnet10t", 0, 5, 3)),
        (lambda: _torchvision("efficientnet_b0", 2), Recognised("torchvision", "efficientnet_b0", 0, 3, 2)),
        (lambda: _torchvision("convnext_tiny", 1), Recognised("torchvision", "convnext_tiny", 0, 3, 1)),
    ],
)
def test_architectures_are_recognised_and_load(make, expected):
    with torch.device("meta"):
        state = make().state_dict()
    found = recognise(state, "w.pt")
    assert Recognised(**{**found.plain(), "alike": ()}) == expected
    with torch.device("meta"):
        rebuilt = build_foreign(found)
        load_into(rebuilt, state)
        assert rebuilt(torch.zeros(1, expected.channels, 64, 64)).shape == (1, expected.outputs)


def test_names_that_fit_as_well_are_said():
    with torch.device("meta"):
        found = recognise(timm.create_model("efficientnet_b0", num_classes=2).state_dict(), "w.pt")
    assert "tf_efficientnet_b0" in str(found) and "would fit as well" in str(found)


def test_unknown_weights_are_refused_in_words(monkeypatch):
    monkeypatch.setattr(foreign, "_candidates", lambda state: [("timm", "resnet10t"), ("timm", "resnet18")])
    state = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2)).state_dict()
    with pytest.raises(LearningError, match="fit no architecture of timm or torchvision"):
        recognise(state, "w.pt")
    with pytest.raises(LearningError, match="no convolution"):
        recognise(nn.Linear(3, 2).state_dict(), "w.pt")


def test_an_imported_network_scores_as_it_did_where_it_was_made(small, tmp_path, caplog):
    """Stretched by (x − median)/(1.4826 MAD) and softmax outside of this project, scores agree."""
    columns = band_columns(40, size=32, signal=0.2)
    train = write_band_shards(tmp_path, columns, [0, 40], "train")
    validation = write_band_shards(tmp_path, band_columns(30, size=32, first=100, signal=0.2), [0, 30], "validation")
    torch.save({"state_dict": {f"module.{n}": t for n, t in small.state_dict().items()}}, tmp_path / "w.pt")
    network = Network.model_validate({"channels": "bands", "weights": str(tmp_path / "w.pt"), "scaling": {"bands": "stamp"}})
    with caplog.at_level(logging.INFO):
        taken = import_network(network, 1, train, validation)
    assert "taken for timm's resnet10t, 3 input channels, 2 logits" in caplog.text
    save_network(taken, tmp_path / "n.safetensors", tmp_path / "n.json")
    assert load_network(tmp_path / "n.safetensors", tmp_path / "n.json").recognised.name == "resnet10t"
    found = score_stamps(train, tmp_path / "n.safetensors", tmp_path / "n.json", dataset="d", detector="n")
    flat = columns["image"].reshape(40, 3, -1)
    median = np.sort(flat, axis=2)[:, :, [511]]  # the lower of the two in the middle, as torch takes it
    mad = np.sort(np.abs(flat - median), axis=2)[:, :, [511]]
    with torch.inference_mode():
        logits = small(torch.from_numpy(((flat - median) / (1.4826 * mad)).reshape(40, 3, 32, 32)))
    assert np.allclose(found["score"].to_numpy(), softmax(logits.numpy(), axis=1)[:, 1], atol=1e-5)


def last_layer(logits, features, module):
    """The logits that a module's last linear layer makes of features."""
    layer = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    torch.testing.assert_close(features @ layer.weight.T + layer.bias, logits)


@pytest.mark.parametrize(("library", "name", "size"), [("timm", "resnet10t", 512), ("torchvision", "efficientnet_b0", 1280)])
def test_features_are_what_the_last_layer_sees_in_either_library(library, name, size):
    torch.manual_seed(2)
    module = ForeignNetwork(Recognised(library, name, 0, 3, 2), Scaling(bands="stamp")).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        features = module.features(images)
        assert features.shape == (2, size)
        last_layer(module(images), features, module)


def test_features_of_timm_are_its_own(small):
    module = ForeignNetwork(Recognised("timm", "resnet10t", 0, 3, 2), Scaling(bands="stamp")).eval()
    module.foreign.load_state_dict(small.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        inputs = module.stretch(images)
        assert torch.equal(module.features(images), small.forward_head(small.forward_features(inputs), pre_logits=True))


def test_networks_that_cannot_see_g_r_z_are_refused(tmp_path):
    train = write_band_shards(tmp_path, band_columns(8), [0, 8], "train")
    for make, words in (
        (dict(in_chans=5, num_classes=2), "5 input channels"),
        (dict(in_chans=3, num_classes=10), "ends in one logit or in two"),
    ):
        torch.save(timm.create_model("resnet10t", **make).state_dict(), tmp_path / "w.pt")
        network = Network.model_validate({"channels": "bands", "weights": str(tmp_path / "w.pt")})
        with pytest.raises(LearningError, match=words):
            import_network(network, 1, train, train)


def _torchvision(name, outputs):
    import torchvision

    return getattr(torchvision.models, name)(weights=None, num_classes=outputs)
