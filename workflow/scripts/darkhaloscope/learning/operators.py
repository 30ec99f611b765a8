"""torchvision's operators, declared where its compiled library will not load.

torchvision's wheel for CUDA fails to import beside a CPU build of torch ("operator torchvision::nms does not exist"), and
torchmetrics and timm import it. Its fake kernels only need the schemas of the two missing operators.

`declare` is called when `darkhaloscope.learning` is imported. For `import timm` alone torch itself calls it, at the end of `import torch`
(entry points of group `torch.backends`): where the package is installed with pip, by the package's own entry point; in the environment of
`make setup`, where the library must not be installed, by one that this file writes when it is run as a program:

    python operators.py

copies this file into the environment's site-packages beside the metadata of its entry point, if torchvision does not import there. A `.pth`
would run at the start of every Python, and a `sitecustomize` may be another's; an entry point runs where torch is imported alone.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import shutil
import sysconfig
from pathlib import Path

import torch

MISSING = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
#: Name of this file in an environment's site-packages.
MODULE = "darkhaloscope_operators"


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
            # A copy of this file may have done it.
            if not hasattr(torch.ops.torchvision, name):
                torch.library.define(f"torchvision::{name}", schema)


def install(site: Path) -> None:
    """Write a copy of this file and its entry point into a folder of packages, so that `import torch` calls `declare`."""
    shutil.copyfile(__file__, site / f"{MODULE}.py")
    metadata = site / f"{MODULE}-1.dist-info"
    metadata.mkdir(exist_ok=True)
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1\nSummary: {__doc__.splitlines()[0]}\n",
        "INSTALLER": "make setup of Dark Halo Scope\n",
        "entry_points.txt": f"[torch.backends]\n{MODULE} = {MODULE}:declare\n",
    }
    for name, text in files.items():
        (metadata / name).write_text(text, encoding="utf-8")
    names = [f"{MODULE}.py", *(f"{metadata.name}/{name}" for name in (*files, "RECORD"))]
    (metadata / "RECORD").write_text("".join(f"{name},,\n" for name in names), encoding="utf-8")


if __name__ == "__main__":
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        install(Path(sysconfig.get_path("purelib")))
