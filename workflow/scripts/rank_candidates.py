"""Rule rank_candidates: scores of every seed and the stamps' shards in, a ranked list and a page of pictures out."""

from pathlib import Path

from darkhaloscope.detectors.schema import read_scores
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.candidates import candidate_page, rank_candidates

with stage(snakemake) as job:
    tables = {seed: table for (_, seed), table in read_scores(job.input.scores).items()}
    ranked = rank_candidates(tables)
    job.write_csv(job.output.table, ranked)
    page = candidate_page(
        ranked,
        list(job.input.shards),
        dataset=job.wildcards.test,
        network=job.wildcards.detector,
        seeds=len(tables),
        table=Path(job.output.table).name,
        pages={  # from experiments/{experiment}/candidates/{test}
            "All experiments": "../../../../index.html",
            f"Report of {job.wildcards.experiment}": "../../report/index.html",
            f"Dataset {job.wildcards.test}": f"../../../../datasets/{job.wildcards.test}/quality/index.html",
        },
    )
    job.write_text(job.output.page, page)
