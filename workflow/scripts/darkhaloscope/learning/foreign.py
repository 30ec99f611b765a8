"""Weights trained elsewhere: read without unpickling, their architecture recognised from names and shapes."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .scaling import BANDS, LearningError

log = logging.getLogger(__name__)

#: Names under which training scripts keep the weights within a checkpoint, and prefixes that wrappers put ahead of theirs.
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema", "ema", "net", "network", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")

#: Families of the timm library by a tensor that all of a family have.
_FAMILIES = {
    "layer1.0.conv1.weight": ("*resnet*", "*resnext*", "*res2net*", "*ecaresnet*"),
    "stages.0.blocks.0.conv_dw.weight": ("*convnext*",),
    "conv_stem.weight": ("*efficientnet*", "*mobilenet*", "mnasnet*", "mixnet*", "fbnet*", "tinynet*", "hardcorenas*", "spnasnet*"),
}
#: Tried first: building an architecture takes up to a second.
_COMMON = ("resnet18", "resnet34", "resnet50", "convnext_tiny", "efficientnet_b0")
_TORCHVISION = ("convnext_tiny", "convnext_small", "efficientnet_b0", "efficientnet_b1")


@dataclass(frozen=True)
class Recognised:
    """What weights were taken for.

    Attributes
    ----------
    library : timm or torchvision
    name : architecture in that library
    stem : kernel of the first convolution where it is not the library's own, otherwise 0
    channels, outputs : input channels, and values per stamp of the last layer
    alike : other names whose tensors have the same names and shapes
    """

    library: str
    name: str
    stem: int
    channels: int
    outputs: int
    alike: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return {**asdict(self), "alike": list(self.alike)}

    def __str__(self) -> str:
        stem = f", with a {self.stem}×{self.stem} stem" if self.stem else ""
        if self.stem == 3:
            stem += " of stride 1 and no max-pool (weights do not tell either: this is what such stems are built for)"
        last = "one logit (sigmoid)" if self.outputs == 1 else f"{self.outputs} logits (softmax)"
        alike = f"; {', '.join(self.alike)} would fit as well" if self.alike else ""
        return f"{self.library}'s {self.name}{stem}, {self.channels} input channels, {last}{alike}"


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors: safetensors, or a PyTorch file of a state dict, bare or within a checkpoint.

    Prefixes of wrappers (`module.` and the like) are taken off. Nothing but tensors and plain values is unpickled.

    Raises
    ------
    LearningError
        The file is missing or unreadable, would need unpickling, or holds no named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise LearningError(f"{path}: this file of weights does not exist; give the path of a safetensors file or of a PyTorch state dict")
    with open(path, "rb") as file:
        head = file.read(9)
    try:
        found: Any = load_file(path) if head[8:9] == b"{" else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise LearningError(
            f"{path}: holds Python objects and not only tensors, and nothing is unpickled here ({str(error).splitlines()[0][:160]}); where it was "
            "made, save model.state_dict() with torch.save, or with safetensors"
        ) from error
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise LearningError(f"{path}: neither safetensors nor a PyTorch file ({str(error).splitlines()[0][:160]})") from error
    inside = []
    while isinstance(found, Mapping) and not _tensors(found):
        name = next((n for n in WRAPPERS if isinstance(found.get(n), Mapping)), None)
        if name is None:
            raise LearningError(
                f"{path}: no named tensors, and none of {', '.join(WRAPPERS)} in it; it has {', '.join(map(str, list(found)[:8]))}"
            )
        inside.append(name)
        found = found[name]
    tensors = _tensors(found) if isinstance(found, Mapping) else {}
    if not tensors:
        raise LearningError(f"{path}: holds a {type(found).__name__} and not named tensors; save model.state_dict()")
    taken = []
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in tensors)), None):
        taken.append(prefix)
        tensors = {n.removeprefix(prefix): t for n, t in tensors.items()}
    if inside or taken:
        log.info(
            "%s: weights found%s%s",
            path,
            f" in `{'.'.join(inside)}`" if inside else "",
            f", without prefix `{''.join(taken)}`" if taken else "",
        )
    return tensors


def recognise(state: Mapping[str, Tensor], path: str | Path) -> Recognised:
    """Say which architecture has tensors of exactly these names and shapes.

    Presets' stems, torchvision's and timm's architectures are tried. Input channels are those of the first
    convolution; outputs those of the last linear layer.

    Raises
    ------
    LearningError
        None has.
    """
    state = _flat_head(state)
    first = next((t for t in state.values() if t.ndim == 4), None)
    last = next((t for t in reversed(state.values()) if t.ndim == 2), None)
    if first is None or last is None:
        raise LearningError(
            f"{path}: not weights of an image classifier: there is no {'convolution' if first is None else 'linear layer'} in them"
        )
    channels, outputs, kernel = int(first.shape[1]), int(last.shape[0]), int(first.shape[-1])
    shapes = _shapes(state)
    for library, name in _candidates(state):
        plain = Recognised(library, name, 0, channels, outputs)
        stem = _fits(plain, shapes, kernel)
        if stem is not None:
            alike = tuple(n for n in _relatives(library, name) if _fits(dataclasses.replace(plain, name=n), shapes, kernel) is not None)
            return dataclasses.replace(plain, stem=stem, alike=alike)
    raise LearningError(
        f"{path}: {len(state)} tensors ({', '.join(list(state)[:3])} …, {channels} channels, {outputs} outputs) fit no architecture of timm or "
        "torchvision that was tried; import networks of these libraries alone"
    )


def build_foreign(taken: Recognised) -> nn.Module:
    """Return the architecture with random weights, inputs (n, channels, size, size) to (n, outputs)."""
    if taken.library == "torchvision":
        import torchvision

        module = getattr(torchvision.models, taken.name)(weights=None, num_classes=taken.outputs)
    else:
        import timm

        module = timm.create_model(taken.name, pretrained=False, in_chans=taken.channels, num_classes=taken.outputs)
    if taken.stem or taken.library == "torchvision":
        _set_stem(module, taken)
    return module


def load_into(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights that `recognise` took for this module."""
    state = _flat_head(state)
    own = module.state_dict()
    counters = {n: t for n, t in own.items() if n.endswith("num_batches_tracked") and n not in state}
    module.load_state_dict({**counters, **{n: t.to(own[n].dtype) for n, t in state.items()}})


def check_bands(taken: Recognised, path: str | Path) -> None:
    """Raise `LearningError` unless the network takes g, r, z and ends in one or two logits."""
    if taken.channels != len(BANDS):
        raise LearningError(
            f"{path}: taken for {taken}; stamps have the {len(BANDS)} channels {', '.join(BANDS)}: such a network cannot score them"
        )
    if taken.outputs not in (1, 2):
        raise LearningError(f"{path}: taken for {taken}; a lens finder ends in one logit or in two, control first")


def _fits(taken: Recognised, shapes: Mapping[str, tuple[int, ...]], kernel: int) -> int | None:
    """Return the stem with which an architecture has these tensors: 0 for its own, otherwise the kernel; None if it has not."""
    try:
        with torch.device("meta"):
            own = _shapes(build_foreign(taken).state_dict())
            if own == shapes:
                return 0
            different = {n for n in own if own[n] != shapes.get(n)} if own.keys() == shapes.keys() else own
            if len(different) == 1 and _shapes(build_foreign(dataclasses.replace(taken, stem=kernel)).state_dict()) == shapes:
                return kernel
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, AssertionError, NotImplementedError) as error:
        log.debug("%s cannot be built with %d channels: %s", taken.name, taken.channels, error)
    return None


def _relatives(library: str, name: str) -> list[str]:
    """Return architectures of the same name but for a prefix: ports from other libraries, with other padding or so."""
    if library != "timm":
        return []
    import timm

    return [n for n in timm.list_models(f"*_{name}") if n != name]


def _set_stem(module: nn.Module, taken: Recognised) -> None:
    """Replace the first convolution by one of the recognised channels and kernel."""
    name, old = next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
    kernel, stride, padding = old.kernel_size, old.stride, old.padding
    if taken.stem == 3 and hasattr(module, "maxpool"):
        kernel, stride, padding = (3, 3), (1, 1), (1, 1)
        module.maxpool = nn.Identity()
    elif taken.stem and kernel == stride:  # patches
        kernel = stride = (taken.stem, taken.stem)
    elif taken.stem:
        raise ValueError("no stem of this kernel is known for this architecture")
    *above, own = name.split(".")
    parent = module.get_submodule(".".join(above))
    new = nn.Conv2d(taken.channels, old.out_channels, kernel, stride=stride, padding=padding, bias=old.bias is not None)
    if isinstance(parent, nn.Sequential):
        parent[int(own)] = new
    else:
        setattr(parent, own, new)


def _candidates(state: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    if any(n.startswith("features.") for n in state):  # torchvision's residual networks have timm's names and shapes
        yield from (("torchvision", n) for n in _TORCHVISION)
    import timm

    patterns = next((p for key, p in _FAMILIES.items() if key in state), ("*",))
    names = sorted({n for p in patterns for n in timm.list_models(p)}, key=lambda n: (n not in _COMMON, len(n), n))
    if patterns == ("*",):
        log.info("trying the %d architectures of the timm library", len(names))
    yield from (("timm", n) for n in names)


def _tensors(found: Mapping) -> dict[str, Tensor]:
    return {str(n): t for n, t in found.items() if isinstance(t, Tensor)}


def _flat_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the index of a single linear layer inside a Sequential head (dropout before it) out of its name."""
    heads = {m[1] for n in state if (m := re.fullmatch(r"(fc|head\.fc)\.\d+\.weight", n))}
    single = {h for h in heads if sum(n.startswith(f"{h}.") for n in state) == 2}
    return {re.sub(r"^(fc|head\.fc)\.\d+\.", lambda m: f"{m[1]}." if m[1] in single else m[0], n): t for n, t in state.items()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {n: tuple(t.shape) for n, t in state.items() if not n.endswith("num_batches_tracked")}
