"""Rule prepare_cutouts: cutouts as they came in, stamps in the bands, pixels and zero point of networks out."""

import json
from pathlib import Path

from darkhaloscope.config.cutouts import Cutouts
from darkhaloscope.config.legacysurvey import BANDS
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.prepared import PART, prepare_cutouts, prepared_schema

with stage(snakemake) as job:
    network = json.loads(Path(job.input.network).read_text(encoding="utf-8"))
    size = int(network["image_size"])
    tables = prepare_cutouts(Cutouts.model_validate(job.params.cutouts), size, network.get("bands", BANDS))
    write_table(job.output.stamps, prepared_schema(size), tables, row_group=PART)
