"""Rule measure_rendering: the benchmark's printed figures out."""

import os
import subprocess
import sys
from pathlib import Path

import darkhaloscope.lensing.engine
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    library = str(Path(darkhaloscope.__file__).parents[1])
    # The engine is imported above so that an edit of it makes the figures stale.
    command = [sys.executable, job.input.program]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": library}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    job.write_text(job.output.figures, done.stdout)
