"""Tables from elsewhere: no column shifts, whatever stands at the end of a row and however the file was saved."""

import numpy as np
import pytest

from darkhaloscope.surveys.known_lenses import CatalogueError, read_known_lenses, read_labels
from darkhaloscope.surveys.text_tables import TextTableError, read_text_table
from unit.damages import POINTER

OWN = {"ra": "ra", "dec": "dec"}


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "lenses.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_comma_at_the_end_of_each_row_shifts_nothing(tmp_path):
    lenses = read_known_lenses(written(tmp_path, "ra,dec,z\n150.1,2.2,0.5,\n151.3,2.4,0.6,\n"), "own", OWN)
    assert lenses[["ra", "dec"]].to_numpy().tolist() == [[150.1, 2.2], [151.3, 2.4]]
    labels = read_labels(written(tmp_path, "ra,dec,z,class\n150.1,2.2,0.5,spiral,\n"))
    assert labels.to_dict("records") == [{"ra": 150.1, "dec": 2.2, "class": "spiral"}]


def test_blanks_around_a_field_are_no_part_of_it(tmp_path):
    table = read_text_table(written(tmp_path, "id , label\ng1 , 1\n  g20,0 \n"))
    assert table.to_dict("list") == {"id": ["g1", "g20"], "label": ["1", "0"]}


def test_a_field_too_many_is_refused_with_its_line(tmp_path):
    with pytest.raises(CatalogueError, match=r"lenses\.csv, line 3: 4 fields, expected the 3 of the header \(ra, dec, class\)"):
        read_labels(written(tmp_path, "ra,dec,class\n150.1,2.2,ring\n150.1,2.2,33,spiral\n"))


def test_a_field_too_few_is_refused_with_its_line(tmp_path):
    with pytest.raises(TextTableError, match="line 2: 2 fields, expected the 3"):
        read_text_table(written(tmp_path, "ra,dec,class\n150.1,2.2\n"))


def test_a_column_twice_is_refused(tmp_path):
    with pytest.raises(TextTableError, match="names 'ra' twice"):
        read_text_table(written(tmp_path, "ra,dec,ra\n1,2,3\n"))


def test_a_table_without_a_header_is_refused(tmp_path):
    with pytest.raises(TextTableError, match=r"line 1: expected a header with names of columns, found '150\.1,2\.2'"):
        read_text_table(written(tmp_path, "150.1,2.2\n150.2,2.3\n"))


@pytest.mark.parametrize("text", ['name,ra\n"J1,1\nJ2",2\n', 'name,ra\nJ0,0\n"J1,1\nJ2,2\nJ3",3\n'])
def test_a_quote_without_an_end_takes_no_rows_with_it(tmp_path, text):
    begins = 1 + text[: text.index('"')].count("\n")
    with pytest.raises(TextTableError, match=rf"lenses\.csv, line {begins}: a value goes on in line .*correct the quote that does not end"):
        read_text_table(written(tmp_path, text))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_where_files_end_them_and_not_at_letters_of_a_name(tmp_path, end):
    names = ["J1\u2028a", "J2\x85b", "J3\x1cc", "J4\x0bd"]
    assert read_text_table(written(tmp_path, end.join(["name,ra", *(f"{name},1" for name in names)])))["name"].tolist() == names


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(TextTableError, match="is a folder; expected a file"):
        read_text_table(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "ra;dec;name\n150,1;2,2;J1, first\n",
        "ra\tdec\tname\n150.1\t2.2\tJ1, first\n",
        "ra|dec|name\n150.1|2.2|J1, first\n",
        'ra,dec,name\n150.1, 2.2, "J1, first"\n',
        '# made by hand\n\nra,dec,name\r\n150.1,2.2,"J1, first"\r\n\r\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_other_dialects_say_the_same(tmp_path, text, encoding):
    lenses = read_known_lenses(written(tmp_path, text, encoding), "own", OWN | {"name": "name"})
    assert lenses[["name", "ra", "dec"]].to_numpy().tolist() == [["J1, first", 150.1, 2.2]]
    assert np.isnan(lenses["theta_e_arcsec"]).all()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; expected a header line"),
        (b"ra,dec\n\xe9,1\n", "save it as UTF-8"),
        (b"<!DOCTYPE html><html></html>", "it is a web page"),
        (POINTER, "it is a Git LFS pointer; `git lfs pull` fetches the file itself"),
        (b"PK\x03\x04", "found a packed or binary file"),
        (b'ra,dec\n"150,2\n', "not a readable CSV or TSV file"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, content, told):
    path = tmp_path / "lenses.csv"
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match=told) as error:
        read_known_lenses(path, "own", OWN)
    assert str(path) in str(error.value)
