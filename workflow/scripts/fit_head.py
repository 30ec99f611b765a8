"""Rule fit_head: a trained network and real galaxies in; its weights with a last layer of theirs, their description and its history out."""

from dataclasses import replace
from pathlib import Path

from darkhaloscope.config.network import Head
from darkhaloscope.core.files import write_text
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.finish import calibrate
from darkhaloscope.learning.fit_head import fit_head
from darkhaloscope.learning.weights import load_trained, save_network

with stage(snakemake) as job:
    trained = load_trained(job.input.weights, job.input.network)
    network = trained.classifier.network.model_copy(update={"head": Head.model_validate(job.params.head), "rounds": 1})
    trained = replace(trained, classifier=replace(trained.classifier, network=network, calibration=None))
    trained = fit_head(trained, list(job.input.real), list(job.input.train), job.threads)
    trained = calibrate(trained, list(job.input.validation), job.threads)
    write_text(job.output.history, Path(job.input.history).read_text(encoding="utf-8"))
    save_network(trained, job.output.weights, job.output.network)
