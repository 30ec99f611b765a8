"""Stamps made elsewhere: cells written by numpy, older names, and what is refused."""

import io
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.lensfinder import ImportedDataset
from darkhaloscope.core.tables import images
from darkhaloscope.tasks.imported.shard import StampImportError, find_columns, import_shard, read_cell
from darkhaloscope.tasks.lensfinder.schema import stamp_schema

SIZE = 16


def cell(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def per_band(image) -> bytes:
    return cell(**{f"image_{b}": image[k] for k, b in enumerate("grz")})


def pixels(count: int = 10) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def columns(count: int = 10) -> dict:
    """Columns as tables of the project's earlier generations have them."""
    return {
        "task_id": [f"t{i}" for i in range(count)],
        "region_split": ["train"] * (count - 4) + ["val"] * 2 + ["test"] * 2,
        "ra": np.linspace(150, 151, count),
        "dec": np.linspace(2, 3, count),
        "brickname": [f"{i}p020" for i in range(count)],
        "is_control": [i % 2 for i in range(count)],
        "theta_e_arcsec": [1.2] * count,
        "src_dmag": [1.0] * count,
        "src_reff_arcsec": [0.1] * count,
        "psfsize_r": [1.3] * count,
        "psfdepth_r": [400.0] * count,
        "bad_pixel_frac": [0.0] * count,
        "cutout_ok": [1] * count,
        "stamp_npz": [per_band(p) for p in pixels(count)],
        "stamp_size": [SIZE] * count,
        "bandset": ["grz"] * count,
        "arc_snr": [5.0] * count,
        "cosmos_hlr_arcsec": [2.0] * count,
    }


def write(folder, data, name="table.parquet"):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(data), folder / name, row_group_size=3)
    return folder / name


def dataset(path, **values) -> ImportedDataset:
    return ImportedDataset.model_validate({"kind": "imported", "table": str(path), "stamp_size": SIZE, **values})


def imported(path, split="train", shard=0, **values):
    return import_shard(path, dataset(path, **values), "old", split, shard)


def test_cells_written_by_numpy_come_out_as_they_were(tmp_path):
    table = imported(write(tmp_path, columns()))
    stamp_schema(SIZE).check(table.schema, "x")
    np.testing.assert_array_equal(images(table, "image"), pixels()[:6])
    assert table["label"].to_pylist() == [1, 0] * 3 and table["split"].to_pylist() == ["train"] * 6
    # The older name of the lensed radius; θ_E over the PSF that psfsize stands for; no θ_E without an arc.
    assert table["lensed_hlr_arcsec"].to_pylist() == [2.0] * 6
    assert table["theta_over_psf"][0].as_py() == pytest.approx(1.2 / (1.3 / 1.23), rel=3e-3)
    assert table["theta_e_arcsec"].to_pylist() == [1.2, 0.0] * 3


@pytest.mark.parametrize("keys", ["grz", "one", "first axis"])
def test_the_layouts_of_a_cell(keys):
    image = pixels(1)[0]
    made = (
        cell(stamp=image)
        if keys == "one"
        else cell(g=image[0], r=image[1], z=image[2])
        if keys == "grz"
        else cell(arr_0=image.astype("f8"))
    )
    np.testing.assert_array_equal(read_cell(made, SIZE, "x"), image)


def test_an_older_arc_snr_is_left_out_and_a_newer_one_kept(tmp_path):
    assert np.isnan(imported(write(tmp_path, columns()))["arc_snr"].to_numpy()).all()
    newer = {**columns(), "arc_snr_sum": [3.0] * 10}
    assert imported(write(tmp_path, newer))["arc_snr"].to_pylist() == [5.0] * 6


def test_shards_hold_every_row_once_also_from_a_folder_of_files(tmp_path):
    for part in range(3):
        data = {k: v if k != "task_id" else [f"p{part}{i}" for i in v] for k, v in columns().items()}
        write(tmp_path / "folder", data, f"part-{part}.parquet")
    counts = {"train": 4, "validation": 1, "test": 1}
    parts = [imported(tmp_path / "folder", shard=k, shard_counts=counts) for k in range(4)]
    assert [p.num_rows for p in parts] == [4, 5, 4, 5]
    together = pa.concat_tables(parts)
    assert together["number"].to_pylist() == list(range(18)) and len(set(together["task_id"].to_pylist())) == 18
    assert imported(tmp_path / "folder", "validation", shard_counts=counts).num_rows == 6


def test_missing_columns_are_all_named(tmp_path):
    data = {k: v for k, v in columns().items() if k not in ("psfsize_r", "bandset", "ra")}
    with pytest.raises(
        StampImportError, match=r"3 required columns are missing: ra, psf_fwhm_used_r or psfsize_r, bandset; the table has: task_id"
    ):
        imported(write(tmp_path, data))


def test_columns_under_other_names_are_found_by_the_config(tmp_path):
    data = columns()
    data["split_name"] = data.pop("region_split")
    path = write(tmp_path, data)
    with pytest.raises(StampImportError, match="region_split"):
        imported(path)
    assert imported(path, columns={"region_split": "split_name"}).num_rows == 6
    with pytest.raises(StampImportError, match=r"columns` names nowhere"):
        find_columns(list(data), {"ra": "nowhere"}, path)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_a_pickled_object_inside_is_refused(tmp_path):
    data = columns()
    buffer = io.BytesIO()
    np.savez(buffer, image_g=np.array([Evil()], dtype=object), image_r=pixels(1)[0, 1], image_z=pixels(1)[0, 2])
    data["stamp_npz"][2] = buffer.getvalue()
    with pytest.raises(StampImportError, match=r"task_id t2.*pickled objects are never read"):
        imported(write(tmp_path, data))
    with pytest.raises(StampImportError, match="not a readable NPZ"):
        read_cell(pickle.dumps(Evil()), SIZE, "x")


def test_an_archive_that_unpacks_to_too_much_is_refused_unread():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image_g.npy", b"\0" * 200_000_000)
    assert len(buffer.getvalue()) < 300_000
    with pytest.raises(StampImportError, match="200000000 bytes"):
        read_cell(buffer.getvalue(), SIZE, "x")


def test_a_size_that_lies_is_refused():
    """An archive that says it is small, and an array that says it is large."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("image_g.npy", header.getvalue())
    with pytest.raises(StampImportError, match=r"says it has shape \(1000000, 1000000\), but holds 0 bytes"):
        read_cell(buffer.getvalue(), SIZE, "x")


@pytest.mark.parametrize("bad", [cell(a=np.zeros((3, 8, 8))), cell(image_g=np.zeros((SIZE, SIZE))), cell(a=np.array(["x"] * 5))])
def test_other_shapes_and_types_are_refused(bad):
    with pytest.raises(StampImportError, match="task 1"):
        read_cell(bad, SIZE, "task 1")


def test_nan_pixels_are_dropped_although_cutout_ok_is_set(tmp_path):
    data, spoilt = columns(), pixels()
    spoilt[1, 0, 3, 3] = np.nan
    data["stamp_npz"] = [per_band(p) for p in spoilt]
    data["stamp_npz"][4] = None
    table = imported(write(tmp_path, data))
    assert table["cutout_ok"].to_pylist() == [True, False, True, True, False, True]
    assert table["cutout_reason"].to_pylist()[1] == "1 pixels are not finite" and not images(table, "image")[1].any()


def test_other_sizes_and_splits_are_refused_in_words(tmp_path):
    with pytest.raises(StampImportError, match=r"stamps of size 32 in bands grz; expected 16"):
        imported(write(tmp_path, {**columns(), "stamp_size": [32] * 10}))
    with pytest.raises(StampImportError, match="region_split holds fold1"):
        imported(write(tmp_path, {**columns(), "region_split": ["fold1"] * 10}))
    with pytest.raises(StampImportError, match=r"set shard_counts\.test to 0"):
        imported(write(tmp_path, {**columns(), "region_split": ["train"] * 10}), "test")
