"""Dark Halo Scope: the config is read and checked, the rules are included, the targets are named."""

import csv
import functools
import hashlib
import itertools
import os
import re
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.14")
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from darkhaloscope.archive.addresses import plain_files
from darkhaloscope.config.legacysurvey import MOCK_LABELS, MOCK_LENSES, MOCK_SOURCES, MOCK_SWEEPS, Labels
from darkhaloscope.config.lensfinder import PIXEL_SCALE_ARCSEC
from darkhaloscope.config.network import HUB
from darkhaloscope.config.rounds import all_rounds
from darkhaloscope.config.run import read
from darkhaloscope.config.wording import ConfigError
from darkhaloscope.jobs.digest import code_digest, digest_with
from darkhaloscope.jobs.startup import begin, edits, prepare, start
from darkhaloscope.jobs.storage import fetched

try:
    settings, sweep_points = read(edits(workflow), Path(workflow.basedir), workflow.overwrite_configfiles)
except ConfigError as error:
    raise WorkflowError(str(error))
prepare(config, settings)


pathvars:
    results=settings.root,
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


wildcard_constraints:
    sample=r"[A-Za-z0-9][\w.=+-]*",
    dataset=r"[A-Za-z0-9][\w.=+-]*",
    detector=r"[A-Za-z0-9][\w.=+-]*",
    experiment=r"[A-Za-z0-9][\w.=+-]*",
    test=r"[A-Za-z0-9][\w.=+-]*",
    sweep=r"[A-Za-z0-9][\w.=+-]*",
    galaxy_id=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    survey=r"[A-Za-z0-9][\w.=+-]*",
    sweep_name=r"sweep-\d{3}[pm]\d{3}-\d{3}[pm]\d{3}",
    brickname=r"\d{4}[pm]\d{3}",
    split="train|validation|test",
    shard=r"\d+",
    observed=r"[A-Za-z0-9][\w.=+-]*",
    lens=r"[A-Za-z0-9][\w.=+-]*",
    seed=r"\d+",


include: "workflow/rules/common.smk"
include: "workflow/rules/manga.smk"
include: "workflow/rules/mock.smk"
include: "workflow/rules/legacysurvey.smk"
include: "workflow/rules/stamps.smk"
include: "workflow/rules/lensfinder.smk"
include: "workflow/rules/learning.smk"
include: "workflow/rules/evidence.smk"
include: "workflow/rules/observed.smk"
include: "workflow/rules/known_lenses.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/cutouts.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/measure.smk"


report: "workflow/report/workflow.rst"


rule all:
    """Make the reports of the experiments and sweeps that the config's `run` names."""
    default_target: True
    input:
        targets,
        galaxy_pages,
    localrule: True


begin(workflow, settings)


onstart:
    start(settings.root)
