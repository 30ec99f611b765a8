"""Weights trained elsewhere: read without unpickling, their architecture recognised from names and shapes."""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import re
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.reading import absent, in_its_place
from .scaling import BANDS, LearningError

log = logging.getLogger(__name__)

#: Names under which training scripts keep the weights within a checkpoint, and prefixes that wrappers put ahead of theirs.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "model_ema", "ema", "net", "network", "weights"),
    *("model_state", "params", "checkpoint"),
)
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
#: First names of what a training keeps beside its network: losses with weights, metrics.
_OF_TRAINING = re.compile(
    r"criterion\w*|loss\w*|\w*_loss(_fn)?|objective|(train|val|valid|validation|test)_\w+|\w*metrics?\w*|\w*(accuracy|auroc|confmat|f1)|"
    r"(pos|class)_weights?"
)
#: First names of running averages of a network's weights, and of a second network that follows the first.
_OF_AVERAGES = re.compile(r".*(ema|average|averaged|swa|teacher|momentum|target).*")
#: First names that architectures themselves begin with, however many tensors share them.
_OF_ARCHITECTURES = re.compile(r"(features|stages|blocks|layers|layer\d|levels|trunk|body|stem|stage\d|conv\w*)\.")

#: Seconds between progress lines.
PROGRESS_SECONDS = 15.0

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

    Prefixes of wrappers (`module.` and the like) are taken off, and tensors that the loss and metrics of a training left in its
    checkpoint are left aside; the log says both. Nothing but tensors and plain values is unpickled.

    Raises
    ------
    LearningError
        The file is missing or unreadable, would need unpickling, or holds no named tensors.
    """
    path = Path(path)
    found = _unwrapped(_open(path), path)
    found = _of_one_network(found, path)
    tensors, prefixes, aside = bare_names(found)
    if not tensors:
        raise LearningError(f"{path}: holds no tensors of a network, only {', '.join(list(found)[:5])}; save model.state_dict()")
    if odd := [name for name, t in tensors.items() if t.layout != torch.strided or t.is_quantized or t.is_meta or t.is_complex()]:
        raise LearningError(
            f"{path}: {', '.join(odd[:5])} is sparse, quantised, complex or without values, expected plain numbers; save the state_dict() of "
            "the network as it was trained"
        )
    if broken := [name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]:
        raise LearningError(
            f"{path}: {', '.join(broken[:5])} holds NaN or infinity, expected finite weights; take an earlier checkpoint, or train again"
        )
    if prefixes or aside:
        log.info(
            "%s: weights found%s%s",
            path,
            f", without prefix `{'`, `'.join(prefixes)}`" if prefixes else "",
            f"; left aside, being of the loss or of metrics: {', '.join(aside[:5])}{' …' if len(aside) > 5 else ''}" if aside else "",
        )
    return tensors


def _of_one_network(found: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint without those of a running average of its network, which has the same ones under another first name.

    Raises
    ------
    LearningError
        There are several networks of the same tensors, and no name says which is meant.
    """
    inside: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
    for name, tensor in found.items():
        first, _, rest = name.partition(".")
        inside.setdefault(first, set()).add((rest.removeprefix("module."), tuple(tensor.shape)))
    networks = {
        first: tensors
        for first, tensors in inside.items()
        if len(tensors) > 0.3 * len(found) and not _OF_ARCHITECTURES.fullmatch(f"{first}.")
    }
    copies = [first for first, tensors in networks.items() if [*networks.values()].count(tensors) > 1]
    if not copies:
        return dict(found)
    own = [first for first in copies if not _OF_AVERAGES.fullmatch(first.lower())]
    if len(own) != 1:
        raise LearningError(
            f"{path}: holds networks of the same tensors under {', '.join(copies)}, expected one; save the state_dict() of the one that is meant"
        )
    others = [first for first in copies if first not in own]
    log.info("%s: weights of `%s` are used, those of `%s` are not", path, own[0], "`, `".join(others))
    return {name: tensor for name, tensor in found.items() if name.partition(".")[0] not in others}


def bare_names(found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Return tensors by the names that they have in their network, the prefixes that were taken off, and names that are no part of it.

    A prefix is one of a known wrapper, or any first name that nearly all share and no architecture begins with. What stands
    beside it is the classifier where it is a linear layer (an encoder with a head), and otherwise of the loss or of metrics.
    """
    aside = [name for name in found if _OF_TRAINING.fullmatch(name.split(".")[0])]
    tensors = {name: tensor for name, tensor in found.items() if name not in aside}
    taken: list[str] = []
    while prefix := _prefix(tensors):
        taken.append(prefix)
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        beside = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
        heads = {name.rpartition(".")[0] for name, tensor in beside.items() if tensor.ndim == 2}
        aside += [name for name in beside if name.rpartition(".")[0] not in heads]
        tensors = {**inside, **{name: tensor for name, tensor in beside.items() if name not in aside and name not in inside}}
    return tensors, taken, aside


def _prefix(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the first name that more than half of the tensors share, with its dot, if it is a wrapper's."""
    counts = Counter(name.split(".", 1)[0] + "." for name in tensors if "." in name)
    if not counts:
        return None
    prefix, most = counts.most_common(1)[0]
    known = prefix in PREFIXES
    return prefix if most > (0.5 if known else 0.9) * len(tensors) and (known or not _OF_ARCHITECTURES.fullmatch(prefix)) else None


def _open(path: Path) -> Any:
    """Return what a file of weights holds; nothing is unpickled but tensors and plain values."""
    expected = "give the path of a safetensors file or of a PyTorch state dict"
    if not os.path.isfile(path):  # a Path raises where a folder above it may not be entered
        what = absent(path) or "is a folder"
        raise LearningError(f"{path}: this file of weights {what}, expected a file; {expected}")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
        if not head:
            raise LearningError(
                f"{path}: this file of weights is empty (0 bytes), expected tensors: an interrupted download or a full disk leaves it so; fetch it again"
            )
        if head.lstrip()[:1] == b"<":
            raise LearningError(
                f"{path}: a web page and not weights, as expected (it begins with {head[:9].decode(errors='replace')!r}); fetch the file itself: {expected}"
            )
        if head[8:9] == b"{":
            return load_file(path)
        if not (head.startswith(b"PK") or head.startswith(b"\x80")):
            what = in_its_place(path) or f"it begins with {head[:8]!r}"
            raise LearningError(f"{path}: neither safetensors nor a PyTorch file, one of which is expected ({what}); {expected}")
        if _is_script(path):
            raise LearningError(
                f"{path}: a TorchScript archive, which holds code, expected tensors alone; save model.state_dict() with torch.save"
            )
        return torch.load(path, map_location="cpu", weights_only=True)
    except LearningError:
        raise  # it has its words already
    except pickle.UnpicklingError as error:
        raise LearningError(
            f"{path}: holds Python objects and not only tensors, and nothing is unpickled here ({_first_line(error)}); where it was "
            "made, save model.state_dict() with torch.save, or with safetensors"
        ) from error
    except (SafetensorError, zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise LearningError(
            f"{path}: cannot be read as safetensors or as a PyTorch file, most likely because it is not whole ({_first_line(error)}); "
            f"fetch or save it again, and {expected}"
        ) from error


def _is_script(path: Path) -> bool:
    """Return whether a PyTorch file is one of torch.jit.save."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _unwrapped(found: Any, path: Path) -> dict[str, Tensor]:
    """Return the named tensors within a checkpoint."""
    inside = []
    while isinstance(found, Mapping) and not _tensors(found):
        name = next((n for n in WRAPPERS if isinstance(found.get(n), Mapping)), None)
        if name is None:
            raise LearningError(
                f"{path}: expected the weights of a network, but there are no named tensors, and none of {', '.join(WRAPPERS)} in it; it has {', '.join(map(str, list(found)[:8])) or 'nothing'}; save model.state_dict()"
            )
        inside.append(name)
        beside = [str(n) for n in found if n != name and isinstance(found[n], Mapping) and _tensors(found[n])]
        if beside:
            log.info("%s: weights of `%s` are used, those of `%s` are not", path, name, "`, `".join(beside))
        found = found[name]
    if not isinstance(found, Mapping):
        raise LearningError(f"{path}: holds a {type(found).__name__} and not named tensors; save model.state_dict()")
    if inside:
        log.info("%s: weights found in `%s`", path, ".".join(inside))
    return _tensors(found)


def _first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # PyTorch writes parts of it in bold
    return (said.splitlines() or [type(error).__name__])[0][:160]


def recognise(state: Mapping[str, Tensor], path: str | Path) -> Recognised:
    """Say which architecture has tensors of exactly these names and shapes.

    Presets' stems, torchvision's and timm's architectures are tried. Input channels are those of the first
    convolution; outputs those of the last linear layer.

    Raises
    ------
    LearningError
        None has.
    """
    first = next((t for t in state.values() if t.ndim == 4), None)
    last = next((t for t in reversed(state.values()) if t.ndim == 2), None)
    if first is None or last is None:
        raise LearningError(
            f"{path}: not weights of an image classifier: there is no {'convolution' if first is None else 'linear layer'} in them"
        )
    channels, outputs, kernel = int(first.shape[1]), int(last.shape[0]), int(first.shape[-1])
    shapes = _shapes(state)
    told = time.monotonic()
    candidates = _candidates(state)
    for place, (library, name) in enumerate(candidates):
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            log.info("%s: %d of %d architectures tried", path, place, len(candidates))
        plain = Recognised(library, name, 0, channels, outputs)
        stem = _fits(plain, shapes, kernel)
        if stem is not None:
            alike = tuple(n for n in _relatives(library, name) if _fits(dataclasses.replace(plain, name=n), shapes, kernel) is not None)
            return dataclasses.replace(plain, stem=stem, alike=alike)
    raise LearningError(
        f"{path}: {len(state)} tensors ({', '.join(list(state)[:3])} …, {channels} channels, {outputs} outputs) fit no architecture of timm or "
        "torchvision that was tried; import networks of these libraries alone, and save the network's own state_dict()"
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
    state = _with_head_of(module, state)
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
            module = build_foreign(taken)
            own, shapes = _shapes(module.state_dict()), _with_head_of(module, shapes)
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


def _candidates(state: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return the architectures that may have these tensors, the likeliest first."""
    # torchvision's residual networks have timm's names and shapes.
    found = [("torchvision", n) for n in _TORCHVISION] if any(n.startswith("features.") for n in state) else []
    import timm

    patterns = next((p for key, p in _FAMILIES.items() if key in state), ("*",))
    names = {n for p in patterns for n in timm.list_models(p)}
    # Building an architecture takes up to a second; where its first convolution is called, timm knows without.
    names = {n for n in names if _first_convolution(n) is None or f"{_first_convolution(n)}.weight" in state}
    kernel = next((t.shape[-1] for t in state.values() if t.ndim == 4), 0)
    names = {n for n in names if not (m := re.search(r"patch(\d+)", n)) or int(m[1]) == kernel}
    return [*found, *(("timm", n) for n in sorted(names, key=lambda n: (n not in _COMMON, len(n), n)))]


def _first_convolution(name: str) -> str | None:
    import timm

    first = (timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()).first_conv
    return first if isinstance(first, str) and first else None


def _tensors(found: Mapping) -> dict[str, Tensor]:
    return {str(n): t for n, t in found.items() if isinstance(t, Tensor)}


def _with_head_of(module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors or shapes with the last linear layer under the name that it has in a module of timm: a Sequential with dropout, or a
    head beside an encoder, gives it another."""
    name = getattr(module, "default_cfg", {}).get("classifier")
    last = next((n for n in reversed(state) if n.endswith(".weight") and len(getattr(state[n], "shape", state[n])) == 2), None)
    if not isinstance(name, str) or last is None or f"{name}.weight" in state:
        return dict(state)
    head = last.removesuffix("weight")
    return {n.replace(head, f"{name}.", 1) if n.startswith(head) else n: value for n, value in state.items()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {n: tuple(t.shape) for n, t in state.items() if not n.endswith("num_batches_tracked")}
