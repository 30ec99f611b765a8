"""A dataset's shards seen and measured as the rules that make and check them do."""

from pathlib import Path

import pyarrow.parquet as pq

from darkhaloscope.config.subhalo import SPLITS
from darkhaloscope.stamps.checks import measure_stamps
from darkhaloscope.stamps.seen import write_seen
from darkhaloscope.tasks import part


def see_shards(shards, dataset):
    """Write what is seen of each shard beside it; return the paths by split."""
    seen = {split: [Path(path).with_suffix(".seen") for path in paths] for split, paths in shards.items()}
    for split, paths in shards.items():
        for path, file in zip(paths, seen[split], strict=True):
            write_seen(file, path, pq.read_table(path), part(dataset.kind, "checks").CHECKS.seen, dataset)
    return seen


def measure(seen, shards, dataset):
    """Measure a dataset as rule check_stamps does."""
    shown = next(shards[split] for split in reversed(SPLITS) if shards.get(split))
    return measure_stamps(seen, shown, dataset, part(dataset.kind, "checks").CHECKS)
