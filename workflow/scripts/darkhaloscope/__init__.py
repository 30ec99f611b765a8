"""Dark Halo Scope: from survey data to trustworthy strong-lens and subhalo detections."""

import sys

__version__ = "0.1.0"

# In a script that Snakemake runs, `snakemake` is its job; a program that imports the module of that name has no rule.
_job = getattr(sys.modules.get("__main__"), "snakemake", None)
if hasattr(_job, "rule") and hasattr(_job, "log"):
    from .jobs import before_stage

    before_stage.watch(_job)
