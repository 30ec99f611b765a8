"""Rule build_index: one line per experiment in; the index of reports and the page of run times out."""

from pathlib import Path

from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.index import build_index, other_summaries, read_benchmarks, read_summary, run_times_page

with stage(snakemake) as job:
    page = Path(job.output.page)
    own = [read_summary(path) for path in job.input.summaries]
    others = other_summaries(page.parent, [line.name for line in own])
    pages = {f"Dataset {name}": f"datasets/{name}/quality/index.html" for name in job.params.datasets}
    pages |= {f"Galaxies of sample {name}": f"manga/{name}/galaxies.html" for name in job.params.samples}
    run_times = Path(job.output.run_times).name
    job.write_text(job.output.page, build_index(own, others, {**pages, "Run times": run_times}))
    job.write_text(job.output.run_times, run_times_page(read_benchmarks(page.parent / "benchmarks"), page.name))
