"""Which rows of the manifest are a shard's, and that no others are read."""

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.core.tables import write_table
from darkhaloscope.stamps.manifest import ManifestError, read_rows
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.schema import MANIFEST


@pytest.fixture
def table(make_dataset):
    return build_manifest("few", make_dataset(size={"train": 50, "validation": 14, "test": 30}), None, Cosmology())


# Groups that end with splits and shards, that lie across both, and one for all.
@pytest.mark.parametrize("row_group", [2, 10, 7, 1024])
def test_a_shard_is_its_rows_of_the_split_in_order(table, tmp_path, row_group):
    write_table(tmp_path / "manifest.parquet", MANIFEST, table, row_group=row_group)
    for split in ("train", "validation", "test"):
        rows = table.filter(pc.equal(table["split"], split))
        for shard, start in enumerate(range(0, rows.num_rows, 10)):
            assert read_rows(tmp_path / "manifest.parquet", MANIFEST, split, shard, 10)["stamp_id"].equals(
                rows["stamp_id"].slice(start, 10)
            )
    with pytest.raises(ManifestError, match="has 14 rows of split validation, so it has no shard 2 of 10"):
        read_rows(tmp_path / "manifest.parquet", MANIFEST, "validation", 2, 10)


def test_row_groups_of_other_shards_are_not_read(table, tmp_path, monkeypatch):
    write_table(tmp_path / "manifest.parquet", MANIFEST, table, row_group=10)
    read, true = [], pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda self, group, **options: read.append(group) or true(self, group, **options))
    read_rows(tmp_path / "manifest.parquet", MANIFEST, "train", 2, 10)
    # Validation ends in group 6, whose statistics do not tell whether it holds rows of train.
    assert read == [2, 6]
