"""Arcs are taken away exactly: what is left is the cutout, or the cutout and the arc's noise."""

import numpy as np
import pytest

from darkhaloscope.core.tables import images, write_table
from darkhaloscope.stamps.manifest import read_rows, write_manifest
from darkhaloscope.tasks.lensfinder.hosts import read_parent
from darkhaloscope.tasks.lensfinder.inject import inject_rows
from darkhaloscope.tasks.lensfinder.manifest import draw_manifest
from darkhaloscope.tasks.lensfinder.schema import MANIFEST, stamp_schema, without_arc_schema
from darkhaloscope.tasks.lensfinder.without_arcs import ArcError, choose_hosts, remove_arcs
from sky import cutout, refused, write_parent
from unit.tasks.test_injection_stamps import dataset

SIZE = 64


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset with three injections into each host, one cutout per host, and two shards of its stamps."""
    folder = tmp_path_factory.mktemp("arcs")
    settings = dataset(hosts={"replicates": 3})
    parent = read_parent(write_parent(folder / "parent.parquet", 3000))
    write_manifest(folder / "m.parquet", MANIFEST, draw_manifest("x", settings, parent, {}))
    shards, hosts = [], {}
    for shard in range(2):
        rows = read_rows(folder / "m.parquet", MANIFEST, "train", shard, settings.shard_size)
        ids = rows["object_id"].to_pylist()
        cutouts = [cutout(host % 997) for host in ids]
        if shard == 1:
            cutouts[rows["label"].to_pylist().index(1)] = refused()
        hosts |= {host: c.image for host, c in zip(ids, cutouts, strict=True) if c.ok}
        path = folder / f"{shard}.parquet"
        write_table(path, stamp_schema(SIZE), inject_rows(rows, settings, cutouts, {}), row_group=7)
        shards.append(path)
    return settings, shards, hosts


def test_one_good_positive_of_each_host_is_chosen_whatever_the_shards(made):
    _, shards, _ = made
    chosen = choose_hosts(shards, SIZE)
    ids = chosen["object_id"].to_pylist()
    assert len(ids) == len(set(ids)) >= 6
    assert set(chosen["label"].to_pylist()) == {1} and all(chosen["cutout_ok"].to_pylist())
    some = choose_hosts(shards, SIZE, most=3)
    assert set(some["number"].to_pylist()) == set(choose_hosts(shards[::-1], SIZE, most=3)["number"].to_pylist())
    assert len(some) == 3 and set(some["number"].to_pylist()) < set(chosen["number"].to_pylist())


def test_the_bare_stamp_is_the_cutout_and_the_other_keeps_the_arcs_noise(made):
    settings, shards, hosts = made
    stamps = choose_hosts(shards, SIZE)
    removed, bare = remove_arcs(stamps, settings, {})
    assert removed.schema.equals(without_arc_schema(SIZE).arrow()) and bare["number"].equals(stamps["number"])
    cutouts = np.stack([hosts[i] for i in stamps["object_id"].to_pylist()])
    # One float32 sum was rounded when the arc was added, and one when it was taken away: two halves of the last bit.
    last_bit = np.spacing(np.maximum(np.abs(images(stamps, "image")), np.abs(cutouts)))
    assert (np.abs(images(bare, "image") - cutouts) <= last_bit).all()
    # What is left of the arc is Poisson: no mean, and the variance flux/gain where there is light.
    noise, arc = images(removed, "image").astype(float) - cutouts, images(stamps, "image").astype(float) - images(removed, "image")
    lit = arc > 0.02
    scaled = noise[lit] / np.sqrt(arc[lit] / 150)
    assert abs(scaled.mean()) < 5 / np.sqrt(lit.sum()) and scaled.var() == pytest.approx(1, abs=5 * np.sqrt(2 / lit.sum()) + 0.02)


def test_without_noise_both_are_the_cutout(made):
    settings, shards, _ = made
    quiet = settings.model_copy(update={"camera": settings.camera.model_copy(update={"poisson": False})})
    removed, bare = remove_arcs(choose_hosts(shards, SIZE), quiet, {})
    np.testing.assert_array_equal(images(removed, "image"), images(bare, "image"))


def test_the_same_bits_for_any_batch(made):
    settings, shards, _ = made
    stamps = choose_hosts(shards, SIZE)
    small = settings.model_copy(update={"rendering": settings.rendering.model_copy(update={"batch_size": 2})})
    for one, other in zip(remove_arcs(stamps, settings, {}), remove_arcs(stamps, small, {}), strict=True):
        np.testing.assert_array_equal(images(one, "image"), images(other, "image"))


def test_arcs_of_other_sources_are_refused(made):
    settings, shards, _ = made
    stamps = choose_hosts(shards, SIZE)
    place = stamps.schema.get_field_index("src_dmag")
    brighter = stamps.set_column(place, stamps.schema.field(place), [np.array(stamps["src_dmag"].to_pylist()) - 0.01])
    with pytest.raises(ArcError, match="made with other sources or settings"):
        remove_arcs(brighter, settings, {})


def test_no_positives_give_empty_tables(made):
    settings, shards, _ = made
    none = choose_hosts(shards, SIZE, most=0)
    assert [len(t) for t in remove_arcs(none, settings, {})] == [0, 0]
