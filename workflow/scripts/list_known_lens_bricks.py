"""Rule list_known_lens_bricks: known lenses in, the names of their bricks out."""

from darkhaloscope.legacysurvey.schema import KNOWN_LENSES
from darkhaloscope.stage import stage
from darkhaloscope.tables import read_table

with stage(snakemake) as job:
    names = read_table(job.input.lenses, KNOWN_LENSES, ["brickname"])["brickname"].to_pylist()
    job.write_text(job.output.names, "".join(f"{name}\n" for name in sorted(set(names))))
