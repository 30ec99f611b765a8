"""Results without Snakemake's own records: which ones a run calls stale."""

import json

from darkhaloscope.jobs.startup import stale_results


def recorded(root, rule, wildcards, params):
    output = root / "datasets" / wildcards["dataset"] / "quality/index.html"
    record = output.parent / "provenance/index.html.json"
    record.parent.mkdir(parents=True)
    output.touch()
    record.write_text(json.dumps({"rule": rule, "wildcards": wildcards, "params": params, "inputs": {}}))


def test_a_datasets_page_that_no_report_of_the_run_links_to_is_another_runs(tmp_path):
    """A narrower `run` beside the demo's results: --forcerun, the remedy, would not make the page again."""
    for name in ("shown", "left-out"):
        recorded(tmp_path, "build_dataset_page", {"dataset": name}, {"experiments": ["a", "b"], "code": "1"})
    rules = {"build_dataset_page": {"experiments": lambda wildcards: ["a"] if wildcards.dataset == "shown" else [], "code": "1"}}
    names, messages = stale_results(str(tmp_path), rules, lambda path: False)
    assert names == ["build_dataset_page"]
    assert len(messages) == 1 and "datasets/shown/quality/index.html" in messages[0] and "left-out" not in messages[0]
