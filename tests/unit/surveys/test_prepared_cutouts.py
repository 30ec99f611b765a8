"""Cutouts of any layout as stamps: the middle stays, flux stays, labels become classes, what cannot be used says why."""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pydantic import ValidationError

from darkhaloscope.config.cutouts import Cutouts
from darkhaloscope.config.observed import Observed
from darkhaloscope.lensing.observe import moffat_from_psfsize
from darkhaloscope.surveys.folder import CutoutError
from darkhaloscope.surveys.prepared import moffat_psfsize, prepare_cutouts, what_was_done
from darkhaloscope.surveys.table import cutouts_of
from unit.text_types import BYTES_TYPES, TEXT_TYPES, retyped

RNG = np.random.default_rng(5)


def star(size, side=1.0):
    y, x = (np.indices((size, size)) - (size - 1) / 2) * side
    return np.stack([k * np.exp(-(x**2 + y**2) / (2 * 1.2**2)) for k in (1.0, 2.0, 4.0)])


def prepared(tmp_path, size=64, **changes):
    settings = Cutouts.model_validate({"path": str(tmp_path), **changes})
    table = pa.concat_tables(prepare_cutouts(settings, size))
    return table.drop_columns(["image"]).to_pandas().set_index("stamp_id"), table["image"].combine_chunks().to_numpy_ndarray()


@pytest.mark.parametrize("width", [64, 65, 101, 200])
def test_same_pixels_are_cropped_about_the_middle_and_never_blurred(tmp_path, width):
    image = RNG.normal(size=(3, width, width)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=image)
    rows, stamps = prepared(tmp_path)
    start = (width - 64) // 2
    np.testing.assert_array_equal(stamps[0], image[:, start : start + 64, start : start + 64])
    assert rows.loc["a", "covered"] == 1 and rows.loc["a", ["width", "height"]].tolist() == [width, width]


@pytest.mark.parametrize(("width", "side"), [(50, 50), (51, 50)])
def test_a_cutout_smaller_than_the_stamp_is_in_its_middle_and_says_so(tmp_path, width, side):
    image = RNG.normal(size=(3, width, width)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=image)
    rows, stamps = prepared(tmp_path)
    np.testing.assert_array_equal(stamps[0][:, 7:57, 7:57], image[:, :side, :side])
    assert not stamps[0][:, :7].any() and rows.loc["a", "covered"] == pytest.approx(side**2 / 64**2)


def test_other_pixels_and_zero_point_keep_flux_and_middle(tmp_path):
    np.savez(tmp_path / "a.npz", image=star(128, 0.168), invvar=np.full((3, 128, 128), 4.0))
    rows, stamps = prepared(tmp_path, pixel_scale_arcsec=0.168, zero_point=27.0, psf_fwhm_arcsec={"g": 0.6})
    factor = 10 ** (0.4 * (22.5 - 27.0))
    assert stamps[0].sum((1, 2), dtype=float) == pytest.approx(factor * star(128, 0.168).sum((1, 2)), rel=1e-4)
    rows_of, columns = np.indices((64, 64)) - 31.5
    assert (stamps[0][1] * columns).sum() / stamps[0][1].sum() == pytest.approx(0, abs=1e-4)
    assert (stamps[0][1] * rows_of).sum() / stamps[0][1].sum() == pytest.approx(0, abs=1e-4)
    # White noise of variance 1/4: a point source matched with its PSF is known to 1/Σ P² of it, P of 0.6″ integrated on fine pixels of 1/8.
    r2 = ((np.indices((1601, 1601)) - 800) ** 2).sum(0) * (0.168 / 8) ** 2
    psf = (1 + r2 * 4 * (2 ** (1 / 3.5) - 1) / 0.6**2) ** -3.5
    area = psf.sum() ** 2 / (psf**2).sum() / 64
    assert rows.loc["a", "psfdepth_g"] == pytest.approx(4 / area / factor**2, rel=1e-3)
    # The FWHM that an injection takes from this psfsize is the one that was given.
    assert moffat_from_psfsize(rows.loc["a", "psfsize_g"]) == pytest.approx(0.6, rel=1e-6) and np.isnan(rows.loc["a", "psfdepth_r"])
    assert "in nanomaggies, whatever the files say" in what_was_done(Cutouts(path="x", zero_point=27.0, ignore_zero_points=True))
    said = what_was_done(Cutouts(path="x", pixel_scale_arcsec=0.168, zero_point=27.0))
    assert "resampled in surface brightness from pixels of 0.168″ to 0.262″" in said and "times 0.01585" in said


def test_a_stand_in_takes_the_place_of_a_missing_band(tmp_path):
    image = np.stack([np.full((64, 64), k, np.float32) for k in (1, 2, 3)])
    image[:, -1, -1] = 0
    np.savez(tmp_path / "a.npz", image=image)
    _, stamps = prepared(tmp_path, bands=("i", "g", "r"), stand_in={"z": "i"})
    assert stamps[0][:, 0, 0].tolist() == [2, 3, 1]
    assert what_was_done(Cutouts(path="x", bands=("i", "g", "r"), stand_in={"z": "i"})).endswith("; i stands in for z")
    for changes, words in {
        "lack z; name what stands in": {"bands": ("g", "r", "i")},
        "stand_in names g, which the cutouts have": {"stand_in": {"g": "r"}},
        "stand_in names y, which no network sees": {"stand_in": {"y": "r"}},
        "stand_in takes y for z": {"bands": ("g", "r"), "stand_in": {"z": "y"}},
    }.items():
        with pytest.raises(ValidationError, match=changes):
            Cutouts(path="x", **words)


def test_positions_come_from_headers_wcs_or_the_table_of_labels(tmp_path):
    header = fits.Header({"RA": 10.0, "DEC": 1.0})
    fits.PrimaryHDU(star(65), header).writeto(tmp_path / "named.fits")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (
        ["RA---TAN", "DEC--TAN"],
        [20.0, 2.0],
        [33.0, 33.0],
        [-0.262 / 3600, 0.262 / 3600],
    )
    fits.PrimaryHDU(star(65), wcs.to_header()).writeto(tmp_path / "wcs.fits")
    fits.PrimaryHDU(star(65)).writeto(tmp_path / "silent.fits")
    (tmp_path / "labels.csv").write_text("id,ra,dec,grade\nsilent,30.0,3.0,2.5\nwcs,0,0,0.7\nnamed,0,0,\nother,1,1,3\n")
    rows, _ = prepared(tmp_path, labels=str(tmp_path / "labels.csv"), label="grade", positive_from=2, control_to=0.3)
    assert rows.loc[["named", "wcs", "silent"], "ra"].tolist() == pytest.approx([10, 20, 30])
    assert rows.loc[["named", "wcs", "silent"], "dec"].tolist() == pytest.approx([1, 2, 3])
    assert rows.loc["silent", "label"] == 1 and rows["label"].isna().tolist() == [True, False, True]  # by name; 0.7 lies between
    assert rows.loc["wcs", "given_label"] == 0.7 and np.isnan(rows.loc["named", "given_label"])


def test_a_file_for_each_band(tmp_path, caplog):
    for name in ("a", "b"):
        for band, plane in zip("grz", star(64), strict=True):
            fits.PrimaryHDU(plane).writeto(tmp_path / f"{name}_{band}_sci.fits")
            fits.PrimaryHDU(np.full((64, 64), 0.5)).writeto(tmp_path / f"{name}_{band}_rms.fits")
    (tmp_path / "b_z_sci.fits").unlink()
    patterns = {key: {b: f"*_{b}_{end}.fits" for b in "grz"} for key, end in (("band_files", "sci"), ("noise_files", "rms"))}
    rows, stamps = prepared(tmp_path, noise="rms", psf_fwhm_arcsec={"r": 1.0}, **patterns)
    assert rows.index.tolist() == ["a"] and "1 objects have no file of every band and are left out, such as b" in caplog.text
    np.testing.assert_allclose(stamps[0], star(64), rtol=1e-6, atol=1e-12)
    assert rows.loc["a", "psfdepth_r"] == pytest.approx(4 / (4 * np.pi * (moffat_psfsize(1.0) / 2.3548 / 0.262) ** 2), rel=1e-4)
    with pytest.raises(CutoutError, match=r"no object has a file of each band g, r, z \(found a: g, r; b: g, r\)"):
        prepared(tmp_path, band_files={b: f"*_{b}_sci.fits" if b != "z" else "*_z_image.fits" for b in "grz"})
    with pytest.raises(ValidationError, match="expected a pattern for each of g, r, z"):
        Cutouts(path="x", band_files={"g": "*_g.fits"})


def test_what_cannot_be_used_has_a_row_that_says_why(tmp_path):
    np.savez(tmp_path / "good.npz", image=star(64), label=1)
    np.savez(tmp_path / "four.npz", image=np.zeros((4, 64, 64)))
    empty = star(64)
    empty[1] = np.nan
    np.savez(tmp_path / "empty.npz", image=empty)
    (tmp_path / "torn.fits").write_bytes(b"SIMPLE")
    rows, _ = prepared(tmp_path)
    assert rows["ok"].to_dict() == {"good": True, "four": False, "empty": False, "torn": False} and rows.loc["good", "label"] == 1
    for name, words in {
        "four": "expected numbers of shape (3, size, size)",
        "empty": "has no measurement in r",
        "torn": "reading fails",
    }.items():
        assert words in rows.loc[name, "reason"]
    (tmp_path / "good.npz").unlink()
    with pytest.raises(CutoutError, match="none of its 3 cutouts can be used; the first"):
        prepared(tmp_path)


def test_parquet_with_tensors_or_lists_and_npz_of_many_are_the_same(tmp_path):
    images = RNG.normal(size=(5, 3, 64, 64)).astype(np.float32)
    kind = pa.fixed_shape_tensor(pa.float32(), (3, 64, 64))
    tensors = pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(images.ravel(), 3 * 64 * 64).cast(kind.storage_type))
    columns = {"id": [f"o{k}" for k in range(5)], "ra": np.arange(5.0), "dec": np.zeros(5), "label": [1, 0, None, 1, 0]}
    pq.write_table(pa.table({**columns, "image": tensors}), tmp_path / "tensors.parquet", row_group_size=2)
    pq.write_table(pa.table({**columns, "image": list(images.reshape(5, -1))}), tmp_path / "lists.parquet")
    pq.write_table(pa.table({**columns, "image": images.tolist()}), tmp_path / "nested.parquet")
    known = {"id": np.array(columns["id"]), "ra": columns["ra"], "dec": columns["dec"]}
    np.savez(tmp_path / "many.npz", image=np.moveaxis(images, 1, 3), label=np.array([1, 0, np.nan, 1, 0]), **known)
    for name in ("tensors.parquet", "lists.parquet", "nested.parquet", "many.npz"):
        rows, stamps = prepared(tmp_path / name)
        np.testing.assert_array_equal(stamps, images)
        assert rows.index.tolist() == columns["id"] and rows["ra"].tolist() == [0, 1, 2, 3, 4]
        assert rows["label"].fillna(-1).tolist() == [1, 0, -1, 1, 0]


def test_tables_that_cannot_be_read_are_refused_in_words(tmp_path):
    np.savez(tmp_path / "one.npz", image=star(64))
    pq.write_table(pa.table({"id": ["a", "a"], "image": [[0.0], [0.0]]}), tmp_path / "twice.parquet")
    pq.write_table(pa.table({"id": ["a"], "pixels": [[0.0]]}), tmp_path / "none.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    for name, words in {
        "one.npz": "expected an array image or images or cutout of shape",
        "twice.parquet": "1 names come more than once, such as a",
        "none.parquet": "expected a column image or images or cutout, found id, pixels",
        "torn.parquet": "expected cutouts as a Parquet table, but reading fails",
        "lost": "expected a folder with files ending in",
    }.items():
        with pytest.raises(CutoutError, match=words):
            cutouts_of(Cutouts(path=str(tmp_path / name)))
    (tmp_path / "labels.csv").write_text("id,label\nzzz,1\n")
    with pytest.raises(CutoutError, match="none of its 1 ids, such as zzz, is the name of a cutout, such as one"):
        prepared(tmp_path, labels=str(tmp_path / "labels.csv"))
    (tmp_path / "labels.csv").write_text("id,label\none,lens\n")
    with pytest.raises(CutoutError, match="column label holds 'lens', expected numbers"):
        prepared(tmp_path, labels=str(tmp_path / "labels.csv"))


def test_a_cutout_without_a_name_is_not_called_none(tmp_path):
    images = np.ones((2, 3, 64, 64))
    pq.write_table(pa.table({"id": ["a", None], "image": list(images.reshape(2, -1))}), tmp_path / "mine.parquet")
    np.savez(tmp_path / "mine.npz", image=images, id=np.array([1.0, np.nan]))
    for name in ("mine.parquet", "mine.npz"):
        with pytest.raises(CutoutError, match=rf"{name}: 1 of 2 cutouts have no name, expected one for each"):
            cutouts_of(Cutouts(path=str(tmp_path / name)))
    np.savez(tmp_path / "mine.npz", image=images, id=np.array([b"a", b""]))
    with pytest.raises(CutoutError, match=r"mine\.npz: 1 of 2 cutouts have no name"):
        cutouts_of(Cutouts(path=str(tmp_path / "mine.npz")))
    np.savez(tmp_path / "mine.npz", image=images, id=np.array(["NA", "None"]))
    assert cutouts_of(Cutouts(path=str(tmp_path / "mine.npz"))).names == ["NA", "None"]


def test_names_that_are_bytes_are_text(tmp_path):
    """As those of FITS tables are in numpy, and text of older writers in Parquet; a table is one whatever the case of its ending."""
    images = np.stack([star(64), star(64)])
    np.savez(tmp_path / "mine.npz", image=images, id=np.array([b"a", b"b"]))
    pq.write_table(pa.table({"id": [b"a", b"b"], "image": list(images.reshape(2, -1))}), tmp_path / "mine.parquet")
    pq.write_table(pa.table({"id": [b"a", b"b"], "label": [b"1", b"0"]}), tmp_path / "labels.PARQUET")
    for name in ("mine.npz", "mine.parquet"):
        rows, _ = prepared(tmp_path / name, labels=str(tmp_path / "labels.PARQUET"))
        assert rows["label"].to_dict() == {"a": 1, "b": 0}


@pytest.mark.parametrize("kind", [*TEXT_TYPES.values(), *BYTES_TYPES.values()], ids=[*TEXT_TYPES, *BYTES_TYPES])
def test_text_is_text_in_whatever_type_it_was_written(tmp_path, kind):
    words = {"bands": ["zrg"] * 2, "BUNIT": ["nmgy"] * 2, "RA": ["10:00:24"] * 2, "DEC": ["-02:30:00"] * 2}
    table = pa.table({"id": ["a", "b"], **words, "image": [star(64)[::-1].tolist()] * 2})
    pq.write_table(retyped(table, kind), tmp_path / "mine.parquet")
    pq.write_table(retyped(pa.table({"id": ["a", "b"], "label": ["1", None]}), kind), tmp_path / "labels.parquet")
    rows, stamps = prepared(tmp_path / "mine.parquet", labels=str(tmp_path / "labels.parquet"))
    np.testing.assert_allclose(stamps[0], star(64), rtol=1e-6, atol=1e-12)
    assert rows.loc[["a", "b"], "ra"].tolist() == pytest.approx([150.1] * 2) and rows.loc["a", "label"] == 1
    assert rows["label"].isna().tolist() == [False, True]


@pytest.mark.parametrize("value", ["words", b"\0\1", [[1.0, 2.0], [3.0]]])
def test_an_image_that_is_no_numbers_is_named(tmp_path, value):
    pq.write_table(pa.table({"id": ["a"], "image": [value]}), tmp_path / "mine.parquet")
    with pytest.raises(CutoutError, match=r"mine\.parquet, row 0: expected images as numbers, bands × size × size, but reading fails"):
        prepared(tmp_path / "mine.parquet")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            "a,1,-99,-99\n",
            "columns ra and dec hold '-99' and '-99', expected degrees from 0 to 360 and -90 to 90; leave empty what is not known",
        ),
        ("a,1,150,95\n", "columns ra and dec hold '150' and '95', expected degrees"),
        ("a,1,ten,2\n", "columns ra and dec hold 'ten' and '2', expected degrees"),
        ("a,1,,\n,0,,\n", "1 of 2 rows have no id, expected one in each"),
    ],
)
def test_positions_that_are_none_and_rows_without_an_id_are_refused(tmp_path, rows, told):
    np.savez(tmp_path / "a.npz", image=star(64))
    (tmp_path / "labels.csv").write_text("id,label,ra,dec\n" + rows)
    with pytest.raises(CutoutError, match=rf"labels\.csv: {told}"):
        prepared(tmp_path, labels=str(tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    ("text", "label"),
    [("yes", 1), ("F", 0), ("1.0", 1), ("1e0", 1), ("-99", None), ("-999.0", None), ("NA", None), ("--", None), ("0.5", None)],
)
def test_a_label_is_what_its_word_or_number_says_wherever_it_stands(tmp_path, text, label):
    np.savez(tmp_path / "own.npz", image=star(64), label=text)
    np.savez(tmp_path / "told.npz", image=star(64))
    (tmp_path / "labels.csv").write_text(f"id,label\ntold,{text}\n")
    rows, _ = prepared(tmp_path, labels=str(tmp_path / "labels.csv"))
    assert [None if np.isnan(v) else v for v in rows["label"]] == [label, label]


@pytest.mark.parametrize("text", ["1_0", "inf", "lens", "90%"])
def test_a_label_that_says_nothing_known_is_refused(tmp_path, text):
    np.savez(tmp_path / "told.npz", image=star(64))
    (tmp_path / "labels.csv").write_text(f"id,label\ntold,{text}\n")
    with pytest.raises(CutoutError, match=rf"labels\.csv: column label holds '{text}', expected numbers, or yes and no"):
        prepared(tmp_path, labels=str(tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ["a", "b", "c"]),
        ("label", [1, 0, 1]),
        ("mask", np.zeros((64, 64))),
        ("invvar", np.ones((3, 3, 64, 64))),
        ("pixel_scale", [0.2, 0.3]),
    ],
)
def test_an_array_that_has_no_row_for_each_object_is_refused(tmp_path, name, value):
    np.savez(tmp_path / "m.npz", image=np.stack([star(64)] * 4), **{name: value})
    with pytest.raises(CutoutError, match=rf"m\.npz: expected a row for each of the 4 cutouts, found {name} "):
        prepared(tmp_path / "m.npz")


def test_what_an_array_of_one_value_says_is_said_of_all(tmp_path):
    np.savez(tmp_path / "m.npz", image=np.stack([star(64)] * 4), pixel_scale=[0.2])
    with pytest.raises(CutoutError, match=r"expected pixels of 0\.262.* but the file says 0\.2"):
        prepared(tmp_path / "m.npz")


@pytest.mark.parametrize("kind", [pa.list_(pa.uint8()), pa.large_list(pa.list_(pa.list_(pa.int8())))])
def test_lists_of_pictures_are_no_fluxes(tmp_path, kind):
    picture = np.full((3, 64, 64), 100)
    cell = picture.ravel().tolist() if kind == pa.list_(pa.uint8()) else picture.tolist()
    pq.write_table(pa.table({"id": ["a"], "image": pa.array([cell], kind)}), tmp_path / "mine.parquet")
    with pytest.raises(CutoutError, match=r"mine\.parquet: expected fluxes, found numbers of 8 bits as pictures have them \(u?int8\)"):
        prepared(tmp_path / "mine.parquet")


def test_names_are_one_value_each_and_keep_their_digits(tmp_path):
    images, path = np.stack([star(64)] * 2), tmp_path / "mine.npz"
    for names, words in {
        "two": (np.array([["a", "b"], ["c", "d"]]), "a cutout's name is array.*, expected one text or number"),
        "double": (np.array([1e17, 1e17 + 32]), r"a cutout's name is 1e\+17, whose last digits a float does not keep"),
        "single": (np.array([2.0**25, 2.0**26], np.float32), "whose last digits a float does not keep"),
    }.values():
        np.savez(path, image=images, id=names)
        with pytest.raises(CutoutError, match=words):
            cutouts_of(Cutouts(path=str(path)))
    np.savez(path, image=images, id=np.array([7.0, 12.0]))  # whole numbers, as pandas has them beside one that is missing
    assert cutouts_of(Cutouts(path=str(path))).names == ["7", "12"]
    for kind, values, words in (
        (pa.list_(pa.string()), [["a"], ["b"]], r"a cutout's name is \['a'\], expected one text or number"),
        (pa.float32(), [2.0**25, 2.0**26], "whose last digits a float does not keep"),
    ):
        pq.write_table(pa.table({"id": pa.array(values, kind), "image": list(images.reshape(2, -1))}), tmp_path / "mine.parquet")
        with pytest.raises(CutoutError, match=words):
            cutouts_of(Cutouts(path=str(tmp_path / "mine.parquet")))
    pq.write_table(pa.table({"id": [7.0, 12.0], "label": [1, 0]}), tmp_path / "labels.parquet")
    assert prepared(path, labels=str(tmp_path / "labels.parquet"))[0]["label"].tolist() == [1, 0]


def test_a_table_of_labels_without_rows_is_refused(tmp_path):
    np.savez(tmp_path / "g1.npz", image=star(64))
    (tmp_path / "labels.csv").write_text("id,label\n")
    with pytest.raises(CutoutError, match=r"labels\.csv: expected a row for each object, found a header alone"):
        prepared(tmp_path, labels=str(tmp_path / "labels.csv"))


def test_positions_that_are_none_are_told_and_blanks_are_not(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    known = {"image": np.stack([star(64)] * 2), "id": np.array(["a", "b"]), "dec": np.array([1.0, 2.0])}
    np.savez(tmp_path / "mine.npz", **known, ra=np.array([np.nan, 20.0]))
    assert prepared(tmp_path / "mine.npz")[0]["ra"].isna().tolist() == [True, False] and "expected degrees" not in caplog.text
    np.savez(tmp_path / "mine.npz", **known, ra=np.array([-30.0, 20.0]))
    prepared(tmp_path / "mine.npz")
    assert "mine.npz, a: ra and dec are -30.0 and 1.0, expected degrees from 0 to 360" in caplog.text


def test_labels_that_name_no_cutout_are_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    np.savez(tmp_path / "g1.npz", image=star(64))
    (tmp_path / "labels.csv").write_text("id,label\ng1,1\nG2,0\ng3.npz,0\n")
    prepared(tmp_path, labels=str(tmp_path / "labels.csv"))
    assert "2 of its 3 ids are no cutout's name, such as G2, and count nowhere" in caplog.text


def test_labels_that_are_true_and_false_are_read_as_what_they_say(tmp_path):
    for name in "abc":
        np.savez(tmp_path / f"{name}.npz", image=star(64))
    (tmp_path / "labels.csv").write_text("id,label\na,False\nb,TRUE\nc,\n")
    pq.write_table(pa.table({"id": ["a", "b", "c"], "label": [False, True, None]}), tmp_path / "labels.parquet")
    for name in ("labels.csv", "labels.parquet"):
        rows, _ = prepared(tmp_path, labels=str(tmp_path / name))
        assert rows["label"].fillna(-1).to_dict() == {"a": 0, "b": 1, "c": -1}


def test_networks_of_other_bands_are_refused_and_their_own_are_no_stand_in(tmp_path):
    np.savez(tmp_path / "a.npz", image=star(64))
    gri = Cutouts(path=str(tmp_path), bands=("g", "r", "i"), stand_in={"z": "i"})
    assert "g, r, i, as in training" in what_was_done(gri, ("g", "r", "i")) and "i stands in for z" in what_was_done(gri)
    assert next(prepare_cutouts(gri, 64, ("g", "r", "i"))).num_rows == 1
    with pytest.raises(CutoutError, match="the networks were trained on g, r, i, expected the same of the cutouts; found g, r, z"):
        next(prepare_cutouts(Cutouts(path=str(tmp_path)), 64, ("g", "r", "i")))


def test_weights_that_call_most_pixels_bad_are_told(tmp_path, caplog):
    """As variances of zero do, where a file holds those of something else than the sky."""
    variance = np.ones((3, 64, 64))
    variance[:, 20:, :] = 0
    np.savez(tmp_path / "a.npz", image=star(64), variance=variance)
    (table,) = prepare_cutouts(Cutouts(path=str(tmp_path), noise="variance"), 64)
    assert table["usable"].to_pylist() == [pytest.approx(20 / 64)]
    assert "more than half of the pixels of 1 cutouts bad" in caplog.text


def test_a_band_of_one_value_is_no_measurement(tmp_path):
    """Services give 0 where a survey has no data in a band."""
    dead = star(64)
    dead[1] = 0
    np.savez(tmp_path / "good.npz", image=star(64))
    np.savez(tmp_path / "dead.npz", image=dead)
    rows, _ = prepared(tmp_path)
    assert (
        rows.loc["dead", "reason"] == "dead has no measurement in r: every pixel is masked, not finite, of no weight, or of the same value"
    )
    assert rows.loc["good", "ok"] and not rows.loc["dead", "ok"]


def test_positions_in_hours_and_pointings_of_the_telescope(tmp_path):
    words = {"RA": "10:00:24", "DEC": "-02:30:00"}
    fits.PrimaryHDU(star(65), fits.Header(words)).writeto(tmp_path / "words.fits")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [20.0, 2.0], [33.0, 33.0]
    wcs.wcs.cdelt = [-0.262 / 3600, 0.262 / 3600]
    for name, place in {"pointing": {"RA": 20.4, "DEC": 2.1}, "object": {"RA": 20.001, "DEC": 2.001}}.items():
        fits.PrimaryHDU(star(65), wcs.to_header() + fits.Header(place)).writeto(tmp_path / f"{name}.fits")
    np.savez(tmp_path / "array.npz", image=star(65), ra=words["RA"], dec=words["DEC"])
    fits.PrimaryHDU(star(65)).writeto(tmp_path / "labelled.fits")
    (tmp_path / "labels.csv").write_text("id,ra,dec,label\nlabelled,10:00:24,-02:30:00,1\n")
    rows, _ = prepared(tmp_path, labels=str(tmp_path / "labels.csv"))
    names = ["words", "array", "labelled", "pointing", "object"]
    assert rows.loc[names, "ra"].tolist() == pytest.approx([150.1, 150.1, 150.1, 20.0, 20.001])
    assert rows.loc[names, "dec"].tolist() == pytest.approx([-2.5, -2.5, -2.5, 2.0, 2.001])


def test_what_a_table_says_of_its_rows_is_read(tmp_path):
    swapped = [star(64)[::-1].tolist()] * 2
    pq.write_table(
        pa.table({"id": ["a", "b"], "image": swapped, "bands": ["zrg"] * 2, "RA": [1.0, 2.0], "DEC": [3.0, 4.0]}), tmp_path / "a.parquet"
    )
    np.savez(tmp_path / "three.npz", image=np.stack([star(64)[::-1]] * 3), id=[b"x", b"y", b"z"], filters=["z", "r", "g"])
    rows, stamps = prepared(tmp_path / "a.parquet")
    np.testing.assert_allclose(stamps[0], star(64), rtol=1e-6, atol=1e-12)
    assert rows["ra"].tolist() == [1, 2]
    rows, stamps = prepared(tmp_path / "three.npz")
    np.testing.assert_allclose(stamps[2], star(64), rtol=1e-6, atol=1e-12)
    assert rows.index.tolist() == ["x", "y", "z"]
    np.savez(tmp_path / "zero.npz", image=np.stack([star(64)] * 2), zero_point=27.0)
    with pytest.raises(CutoutError, match=r"zero\.npz, 0: expected fluxes in nanomaggies .* zero point 27"):
        prepared(tmp_path / "zero.npz")


@pytest.mark.parametrize(
    ("said", "settings", "words"),
    [
        ({"zero_point": [27.0, 27.0, 27.0]}, {}, "the file says zero point 27"),
        (
            {"zero_point": [25.0, 27.0, 29.0]},
            {"zero_point": 27.0},
            r"expected one zero_point of all bands, found 25\.0, 27\.0, 29\.0; bring",
        ),
        ({"flux_unit": ["nJy", "nJy", "nJy"]}, {}, r"the file says zero point 31\.4 \(nJy\)"),
        ({"flux_unit": ["nJy", "mJy", "nJy"]}, {}, "expected one flux_unit of all bands, found nJy, mJy, nJy"),
        ({"pixscale": [0.2, 0.2, 0.2]}, {}, r"the file says 0\.2″"),
        ({"pixscale": [0.2, 0.262, 0.2]}, {}, "expected one pixscale of all bands"),
    ],
)
def test_what_a_file_says_of_each_band_counts(tmp_path, said, settings, words):
    (tmp_path / "each").mkdir()
    np.savez(tmp_path / "each/a.npz", image=star(64), **said)
    with pytest.raises(CutoutError, match=rf"a\.npz: .*{words}"):
        prepared(tmp_path / "each", **settings)
    if "pixscale" not in said:
        assert prepared(tmp_path / "each", **settings, ignore_zero_points=True)[0]["ok"].all()
    same = {name: np.array([{"zero_point": 22.5, "flux_unit": "nanomaggy", "pixscale": 0.262}[name]] * 3) for name in said}
    np.savez(tmp_path / "each/a.npz", image=star(64), **same)
    assert prepared(tmp_path / "each")[0]["ok"].all()


@pytest.mark.parametrize(
    ("cell", "words"), [([[[1.0, 2.0], [3.0]], [[1.0]]], "inhomogeneous"), (None, "image is empty, expected an image")]
)
def test_a_row_that_is_no_image_says_so_and_the_others_are_scored(tmp_path, cell, words):
    pq.write_table(pa.table({"id": ["a", "b"], "image": [star(64).tolist(), cell]}), tmp_path / "a.parquet")
    rows, _ = prepared(tmp_path / "a.parquet")
    assert rows["ok"].tolist() == [True, False] and words in rows.loc["b", "reason"]
    pq.write_table(pa.table({"id": ["a"], "image": [star(64).tobytes()]}), tmp_path / "bytes.parquet")
    with pytest.raises(CutoutError, match=r"row 0: expected images as numbers, .*image holds binary"):
        prepared(tmp_path / "bytes.parquet")


def test_one_fits_file_is_no_table(tmp_path):
    fits.PrimaryHDU(star(64)).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match="give the folder of a FITS file"):
        prepared(tmp_path / "a.fits")


@pytest.mark.parametrize("settings", [Cutouts, Observed])
def test_a_folder_whose_name_is_a_number_is_written_as_a_path(settings):
    with pytest.raises(ValidationError, match=r"found the number 2024; write a folder that is named so as \./2024"):
        settings.model_validate(2024)
    assert settings.model_validate("./2024").path == "./2024"


def test_names_labels_and_images_are_found_in_whatever_case(tmp_path, caplog):
    images = RNG.normal(size=(3, 3, 64, 64)).astype(np.float32)
    np.savez(tmp_path / "many.npz", IMAGE=images, ObjID=[7, 8, 9], LABEL=[1, 0, 1], RA=[1.0, 2.0, 3.0], Dec=[4.0, 5.0, 6.0])
    columns = {"TARGETID": [7, 8, 9], "Label": [1, 0, 1], "ra": [1.0, 2.0, 3.0], "DEC": [4.0, 5.0, 6.0], "Image": images.tolist()}
    pq.write_table(pa.table(columns), tmp_path / "many.parquet")
    for name in ("many.npz", "many.parquet"):
        rows, stamps = prepared(tmp_path, path=str(tmp_path / name))
        np.testing.assert_array_equal(stamps, images)
        assert rows.index.tolist() == ["7", "8", "9"] and rows["label"].tolist() == [1, 0, 1]
        assert rows["ra"].tolist() == [1, 2, 3] and rows["dec"].tolist() == [4, 5, 6]
    assert "numbered from 0" not in caplog.text
    np.savez(tmp_path / "none.npz", image=images)
    prepared(tmp_path, path=str(tmp_path / "none.npz"))
    assert "nothing is called stamp_id, id, name" in caplog.text and "numbered from 0 in the file's order" in caplog.text


@pytest.mark.parametrize("lost", [{"label": [1, 0]}, {"id": ["a", "b"]}, {"ra": [1.0, 2.0]}, {"mask": np.zeros((64, 64), bool)}])
def test_what_a_file_of_many_says_has_a_row_for_each(tmp_path, lost):
    np.savez(tmp_path / "many.npz", image=RNG.normal(size=(3, 3, 64, 64)), **lost)
    with pytest.raises(CutoutError, match=rf"expected a row for each of the 3 cutouts, found {next(iter(lost))} \("):
        prepared(tmp_path, path=str(tmp_path / "many.npz"))


def test_a_label_that_is_asked_for_and_nowhere_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", image=RNG.normal(size=(3, 64, 64)), label=1)
    with pytest.raises(CutoutError, match="expected a label grade of its cutouts, as cutouts.label names it, found none"):
        prepared(tmp_path, label="grade")
    assert prepared(tmp_path)[0]["label"].tolist() == [1]


def test_tensors_with_axes_in_another_order_are_read_as_they_are_meant(tmp_path):
    """Bands last in the file, bands first by the column's type: pyarrow writes this of an array that was turned."""
    images = RNG.normal(size=(3, 3, 64, 64)).astype(np.float32)
    turned = np.ascontiguousarray(np.moveaxis(images, 1, 3))
    kind = pa.fixed_shape_tensor(pa.float32(), (64, 64, 3), permutation=[2, 0, 1])
    storage = pa.FixedSizeListArray.from_arrays(turned.ravel(), 3 * 64 * 64, mask=pa.array([False, False, True]))
    pq.write_table(pa.table({"id": ["a", "b", "c"], "image": pa.ExtensionArray.from_storage(kind, storage)}), tmp_path / "many.parquet")
    rows, stamps = prepared(tmp_path, path=str(tmp_path / "many.parquet"))
    np.testing.assert_array_equal(stamps[:2], images[:2])
    assert rows["ok"].tolist() == [True, True, False] and "c: image is empty" in rows.loc["c", "reason"]


def test_fluxes_of_no_galaxy_are_told(tmp_path, caplog):
    """A galaxy of 20 mag in HSC's zero point of 27, which its file does not say."""
    image = 10.0 * star(64)
    np.savez(tmp_path / "a.npz", image=image * 10 ** (0.4 * (27.0 - 22.5)))
    prepared(tmp_path, zero_point=27.0)
    assert "expected that of galaxies" not in caplog.text
    prepared(tmp_path)
    assert "expected that of galaxies of 16.5 to 24 mag, 0.251 to 251; is zero_point (22.5) that of the files?" in caplog.text


def test_a_table_of_one_row_group_is_not_read_whole(tmp_path):
    """Writers put up to a million rows into a row group: of 32 MB of images a few are in memory, in whatever order they are asked for."""
    images = RNG.normal(size=(700, 3, 64, 64)).astype(np.float32)
    storage = pa.FixedSizeListArray.from_arrays(images.ravel(), 3 * 64 * 64)
    pq.write_table(pa.table({"id": [f"o{k}" for k in range(700)], "image": storage}), tmp_path / "many.parquet")
    cutouts = cutouts_of(Cutouts(path=str(tmp_path / "many.parquet")))
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        for row in (0, 1, 63, 64, 699, 300, 10):
            np.testing.assert_array_equal(cutouts.read(f"o{row}").image, images[row])
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < images.nbytes / 2
