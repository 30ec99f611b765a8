"""Rule build_index: one line per experiment in, the index of reports out."""

import json
from pathlib import Path

from darkhaloscope.report.page import Summary, build_index
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    lines = [Summary(**json.loads(Path(path).read_text(encoding="utf-8"))) for path in job.input.summaries]
    job.write_text(job.output.page, build_index(lines))
