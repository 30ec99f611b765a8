"""Devices and arithmetic; what needs a GPU is skipped without one."""

import numpy as np
import pytest
import torch

from darkhaloscope.config.network import Network
from darkhaloscope.learning.device import find_device, training_arithmetic
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.networks import Classifier, build_network
from darkhaloscope.learning.scaling import LearningError
from unit.learning.stamp_shards import classify, read_stamps, stamp_columns, write_shards

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_only_where_the_gpu_computes_in_it(monkeypatch, native):
    # Emulated bfloat16 is "supported" by every GPU.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert training_arithmetic("auto", GPU) == ("bfloat16" if native else "float32")
    assert training_arithmetic("auto", CPU) == "float32"
    for asked in ("float32", "bfloat16"):
        assert training_arithmetic(asked, CPU) == training_arithmetic(asked, GPU) == asked
    assert training_arithmetic("float16", GPU) == "float16"
    with pytest.raises(LearningError, match="float16 needs a GPU"):
        training_arithmetic("float16", CPU)


@pytest.mark.parametrize("seen", [True, False])
def test_the_gpu_is_used_where_torch_sees_one(monkeypatch, seen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    assert find_device() == (GPU if seen else CPU)


@needs_gpu
def test_scores_on_a_gpu_are_those_of_the_cpu_and_know_no_batch(tmp_path, monkeypatch):
    paths = write_shards(tmp_path, stamp_columns(150, signal=0.5), [0, 150])
    network = Network(architecture="deep_dual_stream", width=8)
    data = read_stamps(paths, network)
    torch.manual_seed(1)
    classifier = Classifier(build_network(network).eval(), network, data.normalisation, data.size, 1)
    on_gpu = classify(classifier, data)
    monkeypatch.setattr("darkhaloscope.learning.score.BATCH", 150)
    # Another batch shape may choose other kernels, and rounds otherwise; float32 throughout.
    np.testing.assert_allclose(classify(classifier, data), on_gpu, atol=1e-5)
    assert all(p.device == CPU for p in classifier.module.parameters())
    monkeypatch.setattr("darkhaloscope.learning.score.find_device", lambda: CPU)
    np.testing.assert_allclose(classify(classifier, data), on_gpu, atol=1e-5)


@needs_gpu
def test_training_on_a_gpu(tmp_path):
    train, validation = (
        write_shards(tmp_path, stamp_columns(n, first=first, signal=0.5), [0, n], name)
        for name, n, first in (("t", 120, 0), ("v", 60, 1000))
    )
    network = Network.model_validate({"width": 8, "training": {"epochs": 6, "batch_size": 16, "learning_rate": 0.01}})
    trained = train_network(train, validation, network, 1, tmp_path / "checkpoints", 1)
    assert all(p.device == CPU and p.dtype == torch.float32 for p in trained.classifier.module.parameters())
    assert trained.history[trained.best_epoch - 1]["val_auc"] > 0.9
