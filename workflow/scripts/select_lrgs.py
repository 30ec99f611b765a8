"""Rule select_lrgs: sweeps in, the parent sample and its cut flow out."""

from darkhaloscope.config.legacysurvey import Labels, LensCatalogue, LrgCuts
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.known_lenses import merge_known_lenses, read_known_lenses, read_labels
from darkhaloscope.surveys.legacysurvey.parent import CutFlow, select_lrgs
from darkhaloscope.surveys.legacysurvey.schema import PARENT
from darkhaloscope.surveys.legacysurvey.sweeps import BrickTable

with stage(snakemake) as job:
    cuts, flow = job.params.cuts, CutFlow()
    catalogues = {name: LensCatalogue.model_validate(c) for name, c in job.params.lenses.items()}
    lenses = {name: read_known_lenses(c.path, c.layout, c.columns) for name, c in catalogues.items()}
    labels = Labels.model_validate(job.params.labels) if job.params.labels else None
    rows = select_lrgs(
        job.input.sweeps,
        LrgCuts.model_validate(cuts["lrg"]),
        BrickTable(job.input.bounds, job.input.conditions),
        flow,
        conditions=cuts["conditions"],
        nside=cuts["nside"],
        lenses=merge_known_lenses(lenses, cuts["match_radius_arcsec"]),
        lens_radius_arcsec=cuts["match_radius_arcsec"],
        labels=read_labels(labels.path) if labels else None,
        label_radius_arcsec=labels.radius_arcsec if labels else 0.0,
        stand_in=cuts["stand_in"],
    )
    write_table(job.output.parent, PARENT, rows, row_group=65536)
    job.write_csv(job.output.cut_flow, flow.frame())
