"""Weights on disk: safetensors, and a JSON with all else that scoring needs. Nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..config.network import Network
from ..core.files import sha256, whole, write_json
from ..core.reading import read_json
from .band_network import ForeignNetwork
from .calibration import calibration_of
from .foreign import Recognised
from .head import HeadedNetwork, head_of
from .networks import Classifier, Trained, build_network, describe_network
from .scaling import BANDS, SCALARS, LearningError, Normalisation, inputs_of

FORMAT = "darkhaloscope network 1"


def save_network(trained: Trained, safetensors_path: str | Path, json_path: str | Path) -> None:
    """Write a network's weights and their description, each whole; the same network gives the same bytes.

    The JSON holds the network's section of the config (architecture, channels, input scaling, training),
    inputs, normalisation constants, image size, seed, best epoch, counts, layers and cost, calibration, what foreign weights were
    taken for, which real galaxies a head was fitted on, and the SHA-256 of the weights.
    """
    classifier = trained.classifier
    tensors = {name: value.detach().cpu().contiguous() for name, value in classifier.module.state_dict().items()}
    with whole(safetensors_path) as temporary:
        save_file(tensors, temporary)
    normalisation = classifier.normalisation
    write_json(
        json_path,
        {
            "format": FORMAT,
            "architecture": classifier.network.architecture,
            "channels": classifier.network.channels,
            "inputs": list(normalisation.inputs),
            "normalisation": {
                "offset": list(normalisation.offset),
                "scale": list(normalisation.scale),
                **({"softening": list(normalisation.softening)} if normalisation.softening else {}),
            },
            **({"bands": list(classifier.bands)} if classifier.network.channels == "bands" else {}),
            "image_size": classifier.size,
            "seed": classifier.seed,
            "best_epoch": trained.best_epoch,
            "counts": trained.counts,
            **_measured(classifier),
            "network": classifier.network.model_dump(mode="json"),
            "calibration": classifier.calibration.plain() if classifier.calibration else None,
            **({"head": classifier.head.plain()} if classifier.head else {}),
            "recognised": classifier.recognised.plain() if classifier.recognised else None,
            "weights_sha256": sha256(safetensors_path),
        },
    )


def _measured(classifier: Classifier) -> dict[str, int]:
    """Return layers, parameters and multiply-adds, for reports; of foreign weights the parameters alone."""
    if classifier.network.weights is not None:
        return {"parameters": sum(p.numel() for p in classifier.module.parameters())}
    return describe_network(classifier.network.model_copy(update={"pretrained": None}), classifier.size)


def load_network(safetensors_path: str | Path, json_path: str | Path) -> Classifier:
    """Read a network that `save_network` wrote.

    Raises
    ------
    LearningError
        One of the files is missing or unreadable, the weights are not those that the JSON describes,
        or they do not fit its architecture.
    """
    described = _read_description(json_path)
    try:
        found = sha256(safetensors_path)
    except OSError as error:
        raise LearningError(
            f"{safetensors_path}: expected the weights of a network, which cannot be read ({error.strerror}); train the network first"
        ) from error
    if found != described["weights_sha256"]:
        raise LearningError(
            f"{safetensors_path} is not the weights file that {json_path} describes: SHA-256 {found[:12]}… instead of "
            f"{described['weights_sha256'][:12]}…; keep the two files of one training together, or train again"
        )
    try:
        network = Network.model_validate(described["network"])
        inputs = (*inputs_of(network), *(SCALARS if network.channels == "bands" else ()))
        constants = described["normalisation"]
        normalisation = Normalisation(
            inputs,
            tuple(map(float, constants["offset"])),
            tuple(map(float, constants["scale"])),
            tuple(map(float, constants.get("softening", ()))),
        )
        found = described.get("recognised")
        recognised = Recognised(**{**found, "alike": tuple(found["alike"])}) if found else None
        size, seed = int(described["image_size"]), int(described["seed"])
        bands, head = tuple(map(str, described.get("bands", BANDS))), head_of(described.get("head"))
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise LearningError(
            f"{json_path}: this description of a network does not hold what scoring needs ({error}); train again"
        ) from error
    if list(inputs) != described.get("inputs") or not len(inputs) == len(normalisation.offset) == len(normalisation.scale):
        raise LearningError(
            f"{json_path}: inputs {described.get('inputs')} with {len(normalisation.offset)} offsets, but channels "
            f"`{network.channels}` are {list(inputs)}; train again"
        )
    calibration = calibration_of(described.get("calibration"), json_path)
    with torch.random.fork_rng():
        # The weights hold everything: nothing is fetched or read to start from.
        bare = network.model_copy(update={"pretrained": None})
        module = ForeignNetwork(recognised, network.scaling) if recognised else build_network(bare)
        module = HeadedNetwork(module, network.head) if head else module
    try:
        module.load_state_dict(load_file(safetensors_path))
    except (SafetensorError, RuntimeError) as error:
        raise LearningError(f"{safetensors_path} does not fit the architecture `{network.architecture}` of {json_path}: {error}") from error
    return Classifier(module.eval(), network, normalisation, size, seed, calibration, recognised, bands, head)


def load_trained(safetensors_path: str | Path, json_path: str | Path) -> Trained:
    """Read a network that `save_network` wrote as what training gave, less its history; raises as `load_network`."""
    classifier, described = load_network(safetensors_path, json_path), _read_description(json_path)
    return Trained(classifier, [], described["best_epoch"], described["counts"])


def _read_description(path: str | Path) -> dict[str, Any]:
    described = read_json(path, "the description of a network as JSON", "delete it and train again", LearningError)
    found = described.get("format")
    if found != FORMAT or not isinstance(described.get("weights_sha256"), str):
        raise LearningError(
            f"{path}: expected a description of format `{FORMAT}` with `weights_sha256`, found {found!r}; give the JSON beside the weights"
        )
    return described
