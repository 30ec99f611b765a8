"""Rule explain_scores: trained networks, and the scores that choose stamps, in; attributions and shares of them out."""

from darkhaloscope.config.experiment import Explanations
from darkhaloscope.core.tables import images, write_table
from darkhaloscope.detectors.schema import maps_schema, read_score_table
from darkhaloscope.evaluation.explanations import choose_stamps, explain_networks, summarise_explanations
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.weights import load_network
from darkhaloscope.stamps.rows import read_stamps

with stage(snakemake) as job:
    settings = Explanations.model_validate(job.params.explanations)
    chosen = choose_stamps(read_score_table(job.input.scores), settings.stamps)
    files = zip(job.params.networks, job.input.weights, job.input.networks, strict=True)
    networks = {name: load_network(weights, description) for name, weights, description in files}
    stamps = read_stamps(list(job.input.shards), chosen["number"])
    table, maps = explain_networks(networks, stamps, chosen, settings, job.params.pixel_arcsec, job.params.mark)
    job.write_csv(job.output.table, table)
    job.write_csv(job.output.summary, summarise_explanations(table, job.params.confidence, job.params.bootstrap))
    write_table(job.output.maps, maps_schema(images(maps, "map").shape[-1]), maps)
