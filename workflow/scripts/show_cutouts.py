"""Rule show_cutouts: prepared and scored cutouts in, a ranked page of pictures out."""

import json
from pathlib import Path

from darkhaloscope.config.cutouts import Cutouts
from darkhaloscope.config.legacysurvey import BANDS
from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.core.tables import read_columns
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.candidates import cutouts_page
from darkhaloscope.surveys.prepared import what_was_done

with stage(snakemake) as job:
    settings, detector = Cutouts.model_validate(job.params.cutouts), job.wildcards.detector
    seen = json.loads(Path(job.input.network).read_text(encoding="utf-8")).get("bands", BANDS)
    page = cutouts_page(
        read_columns(job.input.scores).to_pandas(),
        [job.input.stamps],
        read_csv(job.input.rates),
        name=job.wildcards.cutouts,
        detector=detector,
        seeds=len(job.params.seeds[detector]),
        bands=settings.sources,
        done=what_was_done(settings, seen),
        table="scores.csv",
        pages={f"Ranked by {other}": f"{other}.html" for other in job.params.seeds if other != detector},
    )
    job.write_text(job.output.page, page)
