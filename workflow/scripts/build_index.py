"""Rule build_index: one line per experiment in, the index of reports out; reports of other runs below the same root are listed after them."""

import json
from pathlib import Path

from darkhaloscope.report.page import Summary, build_index
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    own = [Path(path) for path in job.input.summaries]
    root = Path(job.output.page).parent
    others = [path for path in sorted(root.glob("experiments/*/summary.json")) if path.resolve() not in {p.resolve() for p in own}]
    lines, beside = ([Summary(**json.loads(path.read_text(encoding="utf-8"))) for path in paths] for paths in (own, others))
    job.write_text(job.output.page, build_index(lines, beside))
