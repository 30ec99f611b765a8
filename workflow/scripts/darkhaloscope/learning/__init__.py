"""Networks: loading stamps, architectures, fitting, weights and scores.

torchvision's wheel for CUDA fails to import beside a CPU build of torch ("operator torchvision::nms does not
exist"), and torchmetrics and timm import it. Its fake kernels only need the schemas of the two missing
operators, so these are declared here, before anything imports torchvision, and only where they are missing.
"""

import importlib.util

import torch

_MISSING_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _declare_missing_operators() -> None:
    """Declare torchvision's detection operators where its compiled library will not load."""
    if importlib.util.find_spec("torchvision") is None or torch.cuda.is_available():
        return
    library = importlib.util.find_spec("torchvision").submodule_search_locations[0]
    try:
        torch.ops.load_library(f"{library}/_C.so")
    except (OSError, RuntimeError):
        for name, schema in _MISSING_OPERATORS.items():
            torch.library.define(f"torchvision::{name}", schema)


_declare_missing_operators()
