"""Dark Halo Scope: from survey data to trustworthy strong-lens and subhalo detections."""

import sys

__version__ = "0.1.0"

if hasattr(sys.modules.get("__main__"), "snakemake"):
    from .jobs import before_stage

    before_stage.watch(sys.modules["__main__"])
