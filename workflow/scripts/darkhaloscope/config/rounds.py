"""Rounds of training as detectors of their own: what each learns from is the scores of the one before. Heads of finished networks."""

from __future__ import annotations

from collections.abc import Mapping

from .detector import Detector

_MARK = "+round="


def with_rounds(detectors: Mapping[str, Detector]) -> dict[str, Detector]:
    """Return the detectors and, for each of several rounds, its earlier rounds: `finder` of three is `finder+round=1`, `finder+round=2`, `finder`."""
    out = dict(detectors)
    for name, network in detectors.items():
        for k in range(1, network.rounds):
            out[f"{name}{_MARK}{k}"] = network.model_copy(update={"rounds": k})
    return out


def with_bodies(detectors: Mapping[str, Detector]) -> dict[str, Detector]:
    """Return the detectors, those that are a head of another network as that network with this head, and one round: it is fitted once."""
    out = dict(detectors)
    for name, network in detectors.items():
        if body := body_of(network):
            own = {"head": network.head, "description": network.description, "rounds": 1}
            out[name] = detectors[body].model_copy(update=own)
    return out


def body_of(detector: Detector) -> str | None:
    """Return the name of the network that a head was put on; None for all other detectors."""
    return getattr(detector, "body", None)


def all_rounds(name: str, detectors: Mapping[str, Detector]) -> list[str]:
    """Return the names of a network's rounds up to and including its own, the first one first; those of its body for a head."""
    name = body_of(detectors[name]) or name
    base = name.split(_MARK)[0]
    last = detectors[name].rounds
    return [name if k == last else f"{base}{_MARK}{k}" for k in range(1, last + 1)]
