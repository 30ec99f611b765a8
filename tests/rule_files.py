"""The functions of the Snakefile and its rule files, as they are for a config: what rules take as inputs and parameters."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings, WorkflowSettings
from snakemake_interface_executor_plugins.settings import ExecMode

ROOT = Path(__file__).parents[1]


def rule_files(overlay):
    """Return the names that the Snakefile and the rule files define, once a config is laid over the defaults."""
    with mock.patch.dict(os.environ), SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            # As in a job: nothing is looked up below the root.
            workflow_settings=WorkflowSettings(exec_mode=ExecMode.SUBPROCESS),
            config_settings=ConfigSettings(config=json.loads(json.dumps(overlay))),
            snakefile=ROOT / "Snakefile",
        )
        return SimpleNamespace(**dict(workflow._workflow.globals))


def wildcards(**values):
    """Return what an input function is given."""
    return SimpleNamespace(**values)
