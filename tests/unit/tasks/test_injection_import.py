"""Stamps made elsewhere: cells written by numpy, older names, and what is refused."""

import datetime
import decimal
import io
import logging
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
from unit.text_types import BYTES_TYPES, TEXT_TYPES, retyped

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
    pq.write_table(data if isinstance(data, pa.Table) else pa.table(data), folder / name, row_group_size=3)
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


@pytest.mark.parametrize("kind", [*TEXT_TYPES.values(), *BYTES_TYPES.values()], ids=[*TEXT_TYPES, *BYTES_TYPES])
def test_text_is_text_in_whatever_type_it_was_written(tmp_path, kind):
    table = pa.table({**columns(), "is_control": ["no", "yes"] * 5})
    other = retyped(table, kind)
    if kind == pa.binary_view():  # images, too
        other = other.set_column(other.schema.get_field_index("stamp_npz"), "stamp_npz", other["stamp_npz"].cast(kind))
    np.testing.assert_equal(imported(write(tmp_path, other, "other.parquet")).to_pydict(), imported(write(tmp_path, table)).to_pydict())


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


# --- what users of other tools bring ---------------------------------------------------------------

CONTROL = [bool(i % 2) for i in range(10)]


@pytest.mark.parametrize(
    "told",
    [
        ["true" if c else "false" for c in CONTROL],
        ["False" if not c else "TRUE" for c in CONTROL],
        ["1" if c else "0" for c in CONTROL],
        ["yes" if c else "no" for c in CONTROL],
        [float(c) for c in CONTROL],
        ["1.0" if c else "0.0" for c in CONTROL],
        pa.array([1.0 if c else 0.0 for c in CONTROL]).dictionary_encode(),
        [decimal.Decimal(int(c)) for c in CONTROL],
        pa.array(["T" if c else "F" for c in CONTROL]).dictionary_encode(),
    ],
)
def test_truths_that_are_written_as_text_or_numbers_are_read_as_what_they_say(tmp_path, told):
    table = imported(write(tmp_path, {**columns(), "is_control": told}))
    assert table["label"].to_pylist() == [1, 0] * 3
    usable = imported(write(tmp_path, {**columns(), "cutout_ok": ["False", "true"] * 5}))
    assert usable["cutout_ok"].to_pylist() == [False, True] * 3


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("is_control", [None, *CONTROL[1:]], r"table\.parquet: column is_control is missing in 1 of 6 rows \(row 0 first\)"),
        ("is_control", [float("nan"), *map(float, CONTROL[1:])], "column is_control is missing in 1 of 6 rows"),
        ("is_control", ["maybe", *["no"] * 9], "column is_control holds 'maybe', expected true or false"),
        ("cutout_ok", [float("nan")] * 10, "column cutout_ok is missing in 6 of 6 rows"),
        ("cutout_ok", [2] * 10, "column cutout_ok holds 2, expected true or false"),
        # Whole numbers that are missing, or are none.
        ("stamp_size", [float(SIZE)] * 5 + [float("nan")] + [float(SIZE)] * 4, "column stamp_size is missing in 1 of 6 rows"),
        ("replicate", [0.5] * 10, r"column replicate holds 0\.5, expected whole numbers"),
        ("replicate", ["first"] * 10, "column replicate holds 'first', expected whole numbers"),
        ("replicate", [2**40] * 10, "column replicate holds 1099511627776, expected whole numbers from"),
        ("replicate", [datetime.date(2026, 1, 1)] * 10, "column replicate holds datetime.date"),
        # Identifiers that fall together as floats.
        ("object_id", [2.0**60] * 10, r"column object_id holds 1\.15.*e\+18, whose last digits a double does not keep"),
        ("object_id", pa.array([2.0**25] * 10, pa.float32()), "whose last digits a float does not keep"),
        # Identifiers that are missing would all be one galaxy.
        ("object_id", [None, *["7"] * 9], "column object_id is missing in 1 of 6 rows"),
        ("brickname", [None, *["0001p000"] * 9], "column brickname is missing in 1 of 6 rows"),
        ("ra", [float("nan"), *[150.0] * 9], "column ra is missing or not finite in 1 of 6 rows that need it"),
        ("theta_e_arcsec", [float("nan")] * 10, "column theta_e_arcsec is missing or not finite in 3 of 3 rows"),
        # Numbers that stand for none.
        ("ra", [-99.0, *[150.0] * 9], r"column ra holds -99 \(row 0 first, 1 rows\), expected 0 to 360 in every row"),
        ("dec", [-999.0] * 10, "column dec holds -999 .*, expected -90 to 90"),
        ("theta_e_arcsec", [-99.0] * 10, "column theta_e_arcsec holds -99 .*, expected 0 to inf in every row that needs it"),
        ("task_id", [None, *[f"t{i}" for i in range(9)]], "task_id is missing in 1 of 10 rows"),
        ("task_id", [[f"t{i}"] for i in range(10)], "column task_id holds list<.*, expected one text or number in each row"),
        ("region_split", [["train"]] * 10, "column region_split holds list<"),
        ("stamp_size", [[SIZE]] * 10, "column stamp_size holds list<"),
        ("brickname", [b"\xff"] * 10, "column brickname holds binary, expected one text or number in each row"),
        ("stamp_npz", ["UEsDBA=="] * 10, "column stamp_npz holds string, expected an NPZ archive as bytes in each row"),
        ("stamp_npz", [[1, 2]] * 10, "column stamp_npz holds list<"),
    ],
)
def test_what_is_missing_or_means_nothing_is_refused_by_name_and_value(tmp_path, name, values, message):
    with pytest.raises(StampImportError, match=message):
        imported(write(tmp_path, {**columns(), name: values}))


def test_identifiers_keep_their_numbers_however_they_are_written(tmp_path):
    ids = list(range(9_007_199_254_740_000, 9_007_199_254_740_010))
    for written in (ids, [str(i) for i in ids], [float(i) for i in ids]):
        table = imported(write(tmp_path, {**columns(), "object_id": written, "region_id": written}))
        assert table["object_id"].to_pylist() == ids[:6] and table["region_id"].to_pylist() == ids[:6]
    for written in ([f"{i}.0" for i in range(10)], [decimal.Decimal(i) for i in range(10)], pa.array(np.arange(10.0)).dictionary_encode()):
        assert imported(write(tmp_path, {**columns(), "object_id": written}))["object_id"].to_pylist() == list(range(6))
    # A word stands for a number of its own, the same in every table; so does a number that 64 bits do not hold, and `1_0` is not ten.
    words = imported(write(tmp_path, {**columns(), "object_id": [f"J{i // 2}" for i in range(10)]}))["object_id"].to_pylist()
    assert words[0] == words[1] and len(set(words)) == 3
    large = imported(write(tmp_path, {**columns(), "object_id": pa.array([2**63 + i for i in range(10)], pa.uint64())}))
    assert len(set(large["object_id"].to_pylist())) == 6
    assert 10 not in imported(write(tmp_path, {**columns(), "object_id": ["1_0"] * 10}))["object_id"].to_pylist()


def test_bytes_that_are_text_are_read_as_text(tmp_path):
    """Older writers of Parquet do not say which bytes are text."""
    plain = columns()
    text = ("task_id", "region_split", "brickname", "bandset")
    said = {**{name: [value.encode() for value in plain[name]] for name in text}, "is_control": [b"true", b"false"] * 5}
    table = imported(write(tmp_path, {**plain, **said, "source_kind": [b"sersic"] * 10}))
    assert table["label"].to_pylist() == [0, 1] * 3 and table["brickname"].to_pylist() == plain["brickname"][:6]
    assert set(table["source_kind"].to_pylist()) == {"sersic"}


def test_no_file_of_a_folder_is_passed_over_for_its_ending_or_place(tmp_path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    whole = pa.table(columns())
    places = [(folder, "a.pq"), (folder, "B.PARQUET"), (folder / "c.parquet", "part-0.parquet"), (elsewhere, "d.parquet")]
    for k, (place, name) in enumerate(places):
        write(place, whole.slice(k, 10 if k == 3 else 1), name)
    (folder / "linked").symlink_to(elsewhere)
    assert sorted(imported(folder)["task_id"].to_pylist()) == [f"t{i}" for i in range(6)]
    (folder / "e.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StampImportError, match=r"e\.parquet: expected a Parquet file, found an empty folder or a link to nothing"):
        imported(folder)


def test_what_dead_jobs_and_editors_leave_in_a_folder_is_passed_over(tmp_path):
    folder = tmp_path / "folder"
    write(folder, columns(), "part-00000.snappy.parquet")
    for left in ("_temporary/0/task_1", ".ipynb_checkpoints"):
        (folder / left).mkdir(parents=True)
        write(folder / left, columns(), "part-00000.parquet")
    (folder / "._part-00000.snappy.parquet").write_bytes(b"\0\5\26\7mac")
    (folder / "_SUCCESS").touch()
    assert imported(folder)["task_id"].to_pylist() == [f"t{i}" for i in range(6)]
    (folder / "part-00001.parquet").write_bytes(b"<html>")
    with pytest.raises(StampImportError, match=r"part-00001\.parquet: expected a Parquet file .*; write it again, or take it out"):
        imported(folder)


def test_an_id_that_comes_twice_is_refused_also_over_files_and_splits(tmp_path):
    with pytest.raises(StampImportError, match="task_id t0 comes more than once in this table"):
        imported(write(tmp_path, {**columns(), "task_id": ["t0", "t0", *[f"t{i}" for i in range(2, 10)]]}))
    # The last row is of another split.
    with pytest.raises(StampImportError, match="task_id t0 comes more than once"):
        imported(write(tmp_path, {**columns(), "task_id": [*[f"t{i}" for i in range(9)], "t0"]}))
    write(tmp_path / "folder", columns(), "a.parquet")
    write(tmp_path / "folder", columns(), "copy of a.parquet")
    with pytest.raises(StampImportError, match=r"copy of a\.parquet: task_id t\d comes more than once in this table \(10 rows too many\)"):
        imported(tmp_path / "folder")


def test_rows_of_no_split_are_refused_and_those_of_a_split_left_out_are_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    for word in (None, "", "eval"):
        said = ["train"] * 4 + [word] * 2 + ["val"] * 2 + ["test"] * 2
        with pytest.raises(StampImportError, match=f"region_split holds {word or 'nothing'} in 2 of 10 rows"):
            imported(write(tmp_path, {**columns(), "region_split": said}))
    assert imported(write(tmp_path, {**columns(), "region_split": [" Train "] * 6 + ["VAL"] * 2 + ["test"] * 2})).num_rows == 6
    with caplog.at_level("WARNING", logger="darkhaloscope"):
        imported(write(tmp_path, columns()), shard_counts={"train": 1, "validation": 0, "test": 0})
    assert "2 rows of validation, 2 rows of test left out, since shard_counts says 0 for them" in caplog.text


def test_positions_from_the_stamps_middle_are_converted(tmp_path):
    place = {"host_x_arcsec": [0.1] * 10, "host_y_arcsec": [-0.05] * 10, "shear": [0.04] * 10, "shear_phi_rad": [0.3] * 10}
    data = {**columns(), **place, "src_x_arcsec": [0.3] * 10, "src_y_arcsec": [0.2] * 10}
    table = imported(write(tmp_path, data), positions="stamp")
    # What a ray through the lens' centre sees of a shear about the stamp's middle is a shift of the source by Γ times the offset.
    g1, g2 = 0.04 * np.cos(0.6), 0.04 * np.sin(0.6)
    assert table["src_x_arcsec"][0].as_py() == pytest.approx(0.3 - 0.1 + g1 * 0.1 + g2 * -0.05)
    assert table["src_y_arcsec"][0].as_py() == pytest.approx(0.2 + 0.05 + g2 * 0.1 - g1 * -0.05)
    assert imported(write(tmp_path, data))["src_x_arcsec"][0].as_py() == 0.3
    with pytest.raises(StampImportError, match="positions `stamp` need columns host_x_arcsec, host_y_arcsec, shear"):
        imported(write(tmp_path, columns()), positions="stamp")
