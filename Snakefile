"""Dark Halo Scope: the config is read and checked, the rules are included, the targets are named."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.14")
sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "scripts"))

from darkhaloscope.config.wording import ConfigError
from darkhaloscope.jobs.flow import Flow
from darkhaloscope.jobs.storage import fetched
from darkhaloscope.jobs.startup import begin

try:
    flow = Flow(config, Path(workflow.basedir))
except ConfigError as error:
    raise WorkflowError(str(error))
paths, needs, digest = flow.paths, flow.needs, flow.digest
config.update(flow.manner)


wildcard_constraints:
    sample=r"[A-Za-z0-9][\w.=+-]*",
    dataset=r"[A-Za-z0-9][\w.=+-]*",
    network=r"[A-Za-z0-9][\w.=+-]*",
    experiment=r"[A-Za-z0-9][\w.=+-]*",
    test=r"[A-Za-z0-9][\w.=+-]*",
    sweep=r"[A-Za-z0-9][\w.=+-]*",
    plateifu=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    survey=r"[A-Za-z0-9][\w.=+-]*",
    sweep_name=r"sweep-\d{3}[pm]\d{3}-\d{3}[pm]\d{3}",
    brickname=r"\d{4}[pm]\d{3}",
    split="train|validation|test",
    shard=r"\d+",
    seed=r"\d+",


include: "workflow/rules/common.smk"
include: "workflow/rules/mock.smk"
include: "workflow/rules/manga.smk"
include: "workflow/rules/legacysurvey.smk"
include: "workflow/rules/stamps.smk"
include: "workflow/rules/lensfinder.smk"
include: "workflow/rules/learning.smk"
include: "workflow/rules/known_lenses.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/measure.smk"


report: "workflow/report/workflow.rst"


rule all:
    """Make the reports of the experiments and sweeps that the config's `run` names."""
    default_target: True
    input:
        [local(path) if path in flow.opened_here else path for path in flow.targets()],
    localrule: True


begin(workflow, flow)


onstart:
    flow.lock()
