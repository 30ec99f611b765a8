"""Rule list_known_lens_bricks: known lenses in, the names of their bricks out."""

from darkhaloscope.core.tables import read_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.legacysurvey.schema import KNOWN_LENSES

with stage(snakemake) as job:
    names = read_table(job.input.lenses, KNOWN_LENSES, ["brickname"])["brickname"].to_pylist()
    job.write_text(job.output.names, "".join(f"{name}\n" for name in sorted(set(names))))
