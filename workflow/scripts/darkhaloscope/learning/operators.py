"""torchvision's operators, declared where its compiled library will not load.

torchvision's wheel for CUDA fails to import beside a CPU build of torch ("operator torchvision::nms does not exist"), and
torchmetrics and timm import it. Its fake kernels only need the schemas of the two missing operators.

`declare` is called when `darkhaloscope.learning` is imported. Where the package is installed with pip, torch itself calls it at the
end of `import torch` (entry point of group `torch.backends`), so that timm can be imported first as well.
"""

from __future__ import annotations

import functools
import importlib.util

import torch

MISSING = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@functools.cache
def declare() -> None:
    """Declare torchvision's detection operators, once, where there is a torchvision whose compiled library does not fit this torch."""
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations or torch.cuda.is_available():
        return
    try:
        torch.ops.load_library(f"{found.submodule_search_locations[0]}/_C.so")
    except (OSError, RuntimeError):
        for name, schema in MISSING.items():
            torch.library.define(f"torchvision::{name}", schema)
