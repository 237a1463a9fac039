"""Tables as people and archives write them: read, or one message that names the file."""

import gzip
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable.tree import Field, Info, Resource, TableElement, VOTableFile
from astropy.table import Column, Table

from galcarto.core.tables import FORMATS, TableError, floats, read_table
from galcarto.core.units import factor
from galcarto.surveys.catalogue import read

NAMES = ["ra", "dec", "j_m", "e_j"]
NUMBERS = np.array([[52.25, 31.5, 15.625, 0.03], [52.5, 31.25, 14.125, 0.02], [52.75, 31.125, np.nan, 0.05]])
PLAIN = "\n".join([",".join(NAMES), "52.25,31.5,15.625,0.03", "52.5,31.25,14.125,0.02", "52.75,31.125,,0.05", ""])
GAIA = """# %ECSV 1.0
# ---
# delimiter: ','
# datatype:
# -
#   name: ra
#   datatype: float64
#   unit: deg
#   description: Right ascension, at Ep=2016.0
# -
#   name: dec
#   datatype: float64
#   unit: deg
# -
#   name: j_m
#   datatype: float32
#   unit: mag
# -
#   name: e_j
#   datatype: float32
"""
VIZIER = """#
#   VizieR Astronomical Server
#Column ra (F10.6) Right ascension [ucd=pos.eq.ra]
ra;dec;j_m;e_j
deg;deg;mag;mag
----------;----------;------;-----
 52.25;31.5;15.625;0.03
 52.5;31.25;14.125;0.02
 52.75;31.125;      ;0.05
"""


def columns(table: Table) -> np.ndarray:
    return np.transpose([floats(table[name]) for name in NAMES])


def table(**units: str) -> Table:
    return Table([Column(values, name, unit=units.get(name)) for name, values in zip(NAMES, NUMBERS.T, strict=True)])


def given(path: Path, content: str | bytes) -> Path:
    body = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


# --- text


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="lines of Windows"),
        pytest.param(PLAIN.replace("\n", "\r"), id="lines of old Macs"),
        pytest.param(PLAIN.encode("utf-8-sig"), id="byte order mark"),
        pytest.param(PLAIN.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xfe\xff" + PLAIN.encode("utf-16-be"), id="UTF-16, big end first"),
        pytest.param(("# Öffnung 30 µm\n" + PLAIN).encode("latin-1"), id="Latin-1"),
        pytest.param(("# Öffnung 30 µm\n" + PLAIN).encode(), id="UTF-8"),
        pytest.param("#Title\n# a, b\n#\n" + PLAIN, id="comments"),
        pytest.param("\n\n" + PLAIN, id="empty lines"),
        pytest.param(PLAIN.replace("\n52.5", "\n# a comment\n\n52.5"), id="comments between rows"),
        pytest.param("#" + PLAIN, id="names in a comment"),
        pytest.param("# made by a script\n# " + PLAIN, id="names in the last comment"),
        pytest.param(PLAIN.replace(",", ", "), id="spaces after commas"),
        pytest.param(PLAIN.replace(",", ";"), id="semicolons"),
        pytest.param(PLAIN.replace(",", ";").replace(".", ","), id="semicolons and commas for points"),
        pytest.param(PLAIN.replace(",", "\t"), id="tabs"),
        pytest.param(PLAIN.replace("\n", ",\n")[:-1], id="a comma at the end of each line"),
        pytest.param(PLAIN.replace(",", "|"), id="bars"),
        pytest.param(PLAIN.replace(",,", ",null,").replace(",", "   "), id="spaces"),
        pytest.param(PLAIN.replace("ra,dec", '"ra","dec"').replace("52.25", '"52.25"'), id="quotes"),
        *(
            pytest.param(PLAIN.replace(",,", f",{word},"), id=f"missing: {word}")
            for word in ("null", "NULL", "nan", "NaN", "None", "--", "-", "N/A", "\\N", " ", '""', "NA", "...")
        ),
        pytest.param(GAIA + PLAIN.replace(",,", ",null,"), id="Gaia's bulk file"),
        pytest.param(GAIA + PLAIN.replace(",,", ',"null",'), id="Gaia's bulk file with quotes"),
        pytest.param(VIZIER, id="VizieR"),
        pytest.param(PLAIN.replace("ra,", "name,ra,").replace("\n52", "\nM 42 'a',52"), id="another column"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".ecsv", ".dat", ".tsv", ".CSV"])
def test_text_as_people_have_it(tmp_path, content, suffix):
    np.testing.assert_array_equal(columns(read_table(given(tmp_path / f"t{suffix}", content), NAMES, "hint")), NUMBERS)


def test_units_of_text_are_heard(tmp_path):
    for name, content in (("gaia.csv", GAIA + PLAIN), ("vizier.tsv", VIZIER)):
        found = read_table(given(tmp_path / name, content), NAMES, "hint")
        assert [str(found[one].unit) for one in NAMES[:3]] == ["deg", "deg", "mag"]


def test_ecsv_of_astropy(tmp_path):
    path = tmp_path / "t.ecsv"
    table(ra="deg").write(path)
    found = read_table(path, NAMES, "hint")
    np.testing.assert_array_equal(columns(found), NUMBERS)
    assert found["ra"].unit == u.deg


def test_texts_stay_texts(tmp_path):
    path = given(tmp_path / "t.csv", "ra,Cflg\n1,000\n2,010\n")
    assert list(read_table(path, ["ra"], "hint", texts=["Cflg"])["Cflg"]) == ["000", "010"]


def test_a_table_of_irsa(tmp_path):
    path = tmp_path / "t.tbl"
    table().filled(-1).write(path, format="ascii.ipac")
    np.testing.assert_array_equal(columns(read_table(path, NAMES, "hint")), NUMBERS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "found the columns ; expected also ra, dec, j_m, e_j"),
        ("a;b\n1;2\n", "found the columns a, b; expected also ra"),
        (PLAIN + "1,2,3,4,5,6\n", r"found a row of more than 4 cells \(1,2,3,4,5,6\); expected one for each name"),
        (PLAIN.replace("15.625", "faint"), r"column j_m: found 'faint' in row 1; expected one number in each row"),
        (PLAIN.replace("52.25", "03:28:12"), r"column ra: found '03:28:12' in row 1; expected one number in each row"),
        ("<html><h1>503 Service Unavailable</h1>", "found a web page that says '503 Service Unavailable'; expected a"),
        ("  <!DOCTYPE HTML>\n<html><p>Sorry", "found a web page that says 'Sorry'"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-20], "found no readable table"),
    ],
)
def test_text_that_is_no_table_is_one_message(tmp_path, content, message):
    path = given(tmp_path / "t.csv", content)
    with pytest.raises(TableError, match=rf"^{path}: {message}.*\(hint\)$"):
        read_table(path, NAMES, "hint")


# --- VOTables


def element(votable: VOTableFile, names: list[str], ids: list[str] | None = None) -> TableElement:
    """A table of the numbers under other names."""
    one = TableElement(votable)
    for i, name in enumerate(names):
        one.fields.append(Field(votable, name=name, ID=ids[i] if ids else None, datatype="double"))
    one.create_arrays(len(NUMBERS))
    for field, values in zip(one.fields, NUMBERS.T, strict=False):
        one.array[field.ID] = values
    return one


def votable(path: Path, *tables: tuple, infos: tuple = ()) -> Path:
    file, resource = VOTableFile(), Resource()
    file.resources.append(resource)
    resource.infos.extend(Info(name="QUERY_STATUS", value=value) for value, _ in infos)
    for info, (_, words) in zip(resource.infos, infos, strict=True):
        info.content = words
    resource.tables.extend(element(file, *one) for one in tables)
    file.to_xml(str(path))
    return path


IDS = ["col1", "col2", "col3", "col4"]


@pytest.mark.parametrize(
    "tables",
    [
        [(NAMES,)],
        [(["x", "y"],), (NAMES,)],
        [(NAMES,), (["x", "y"],)],
        [(NAMES, IDS)],
        [(["a", "b", "c", "d"], NAMES)],
        [(["ra", "dec", "c", "d"], ["p", "q", "j_m", "e_j"])],
    ],
)
@pytest.mark.parametrize("suffix", [".vot", ".xml", ".csv"])
def test_votables_by_name_and_by_id(tmp_path, tables, suffix):
    path = votable(tmp_path / f"t{suffix}", *tables, infos=(("OK", ""),))
    np.testing.assert_array_equal(columns(read_table(path, NAMES, "hint")), NUMBERS)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.4, 0.66, 0.95])
def test_a_cut_votable_is_one_message(tmp_path, part):
    body = votable(tmp_path / "whole.vot", (NAMES,)).read_bytes()
    path = given(tmp_path / "t.vot", body[: int(part * len(body))])
    with pytest.raises(TableError, match=rf"^{path}: found no readable table .*if the file is cut, get it again"):
        read_table(path, NAMES, "hint")


@pytest.mark.parametrize(
    ("tables", "infos", "message"),
    [
        ((), (("ERROR", "Column not found"),), "found the error 'Column not found'; expected a table"),
        (((NAMES,),), (("ERROR", "Time is over"),), "found the error 'Time is over'"),
        (((NAMES,),), (("OK", ""), ("OVERFLOW", "")), "found the overflow flag: rows are left out"),
        ((), (("OK", ""),), "found a VOTable without a table"),
        (((["x", "y"],), (["z"],)), (), "found the columns x, y; expected also ra"),
    ],
)
def test_votables_without_the_table_say_why(tmp_path, tables, infos, message):
    path = votable(tmp_path / "t.vot", *tables, infos=infos)
    with pytest.raises(TableError, match=rf"^{path}: {message}"):
        read_table(path, NAMES, "hint")


# --- FITS and Parquet


def written(path: Path) -> Path:
    if path.suffix == ".parquet":
        table().to_pandas().to_parquet(path)
    else:
        table().write(path)
    return path


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".parquet"])
@pytest.mark.parametrize("part", [0.0, 0.05, 0.4, 0.6])
def test_a_cut_file_is_one_message(tmp_path, suffix, part):
    body = written(tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"t{suffix}"
    path.write_bytes(body[: int(part * len(body))])
    with pytest.raises(TableError, match=rf"^{path}: found (no readable table|1 HDUs and no table)"):
        read_table(path, NAMES, "hint")


@pytest.mark.parametrize("suffix", sorted(set(FORMATS)))
def test_a_web_page_in_place_of_a_file_shows_its_words(tmp_path, suffix):
    path = given(tmp_path / f"t{suffix}", "<!-- 1 -->\n<html><head><title>Login</title></head></html>")
    with pytest.raises(TableError, match=rf"^{path}: found a web page that says 'Login'"):
        read_table(path, NAMES, "hint")


@pytest.mark.parametrize("suffix", [".fits", ".parquet", ".vot"])
def test_noise_in_place_of_a_file_is_one_message(tmp_path, suffix):
    path = given(tmp_path / f"t{suffix}", np.random.default_rng(1).bytes(5000))
    with pytest.raises(TableError, match=rf"^{path}: found no readable table"):
        read_table(path, NAMES, "hint")


def test_damaged_parquet_is_one_message(tmp_path):
    path = tmp_path / "t.parquet"
    frame = Table({name: np.random.default_rng(1).random(2000) for name in NAMES}).to_pandas()
    frame.to_parquet(path, compression="zstd", write_page_checksum=True)
    body = bytearray(path.read_bytes())
    body[5000:5010] = b"0123456789"
    path.write_bytes(body)
    with pytest.raises(TableError, match=rf"^{path}: found no readable table"):
        read_table(path, NAMES, "hint")


def test_the_first_fits_table_with_the_columns(tmp_path):
    path = tmp_path / "t.fits"
    image, other = fits.ImageHDU(np.ones((3, 3))), fits.table_to_hdu(Table({"x": [1.0]}))
    fits.HDUList([fits.PrimaryHDU(), image, other, fits.table_to_hdu(table())]).writeto(path)
    np.testing.assert_array_equal(columns(read_table(path, NAMES, "hint")), NUMBERS)


def test_fits_data_that_do_not_fit_their_sum(tmp_path):
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table())]).writeto(path, checksum=True)
    body = bytearray(path.read_bytes())
    body[5763:5765] = b"!!"
    path.write_bytes(body)
    with pytest.raises(TableError, match="DATASUM"):
        read_table(path, NAMES, "hint")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((3, 3)), "found 3 values in each row"),
        (np.ones((3, 2, 2)), "found 2 x 2 values in each row"),
        (np.array(["a", "b", "c"]), "found 'a' in row 1"),
        (np.array([True, False, True]), "found bool"),
        (np.ones(3, complex), "found >c16"),
    ],
)
def test_columns_that_hold_no_number_in_each_row(tmp_path, values, message):
    path = tmp_path / "t.fits"
    Table({"ra": values}).write(path)
    with pytest.raises(TableError, match=rf"^{path}: column ra: {message}.*; expected one number in each row"):
        read_table(path, ["ra"], "hint")


def test_numbers_as_text_and_vectors_of_one_are_numbers(tmp_path):
    path = tmp_path / "t.fits"
    Table({"a": ["1.5", "null", ""], "b": np.array([[1.0], [2.0], [3.0]])}).write(path)
    found = read_table(path, ["a", "b"], "hint")
    np.testing.assert_array_equal(floats(found["a"]), [1.5, np.nan, np.nan])
    np.testing.assert_array_equal(floats(found["b"]), [1.0, 2.0, 3.0])


# --- units


@pytest.mark.parametrize(
    "text", ["deg", "degree", "degrees", "DEG", "Degrees", "degrees J2000", "deg (J2000)", "deg, ICRS", "", "none", "°"]
)
def test_degrees_in_many_writings(text):
    assert factor(text, "deg") == 1.0


@pytest.mark.parametrize(
    ("text", "expected", "value"),
    [
        *((text, "deg", 15.0) for text in ("h", "hr", "hour", "hourangle", "HOURS")),
        ("rad", "deg", 180 / np.pi),
        ("arcmin", "deg", 1 / 60),
        ("mmag", "mag", 1e-3),
        ("MAG", "mag", 1.0),
        ("mag(AB)", "mag", 1.0),
        ("Vega mag", "mag", 1.0),
        ("arcsec", "mas", 1000.0),
        (None, "mag", 1.0),
    ],
)
def test_units_are_converted(text, expected, value):
    assert factor(text, expected, hours=expected == "deg") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "expected"), [("h", "deg"), ("s", "deg"), ("furlong", "deg"), ("Jy", "mag"), ("mag/arcsec2", "mag")]
)
def test_units_of_another_kind_are_refused(text, expected):
    with pytest.raises(ValueError, match=f"found the unit '{text}'; expected {expected}"):
        factor(text, expected)


COLUMNS = {"longitude": "ra", "latitude": "dec", "J": "j_m", "J_error": "e_j"}


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv"])
@pytest.mark.filterwarnings("ignore")  # of astropy, which writes units that it does not know
@pytest.mark.parametrize(
    ("units", "scale"),
    [
        ({"ra": "degrees", "dec": "DEG"}, [1, 1, 1]),
        ({"ra": "h", "dec": "deg"}, [15, 1, 1]),
        ({"j_m": "mmag"}, [1, 1, 1e-3]),
    ],
)
def test_catalogues_in_other_units(tmp_path, suffix, units, scale):
    path = tmp_path / f"t{suffix}"
    rows = table()
    rows["ra"] /= 10
    for name, unit in units.items():
        rows[name].unit = u.Unit(unit, parse_strict="silent")
    rows.write(path, **({"format": "votable"} if suffix == ".vot" else {}))
    found = read(path, COLUMNS, ["J"], "galactic")
    expected = NUMBERS[:, :3] * [0.1 * scale[0], scale[1], scale[2]]
    np.testing.assert_allclose(found[["l", "b", "J"]], expected)


def test_a_catalogue_in_a_unit_of_another_kind_names_the_column(tmp_path):
    path = tmp_path / "t.fits"
    table(j_m="Jy").write(path)
    with pytest.raises(TableError, match=rf"^{path}: column j_m: found the unit 'Jy'; expected mag.*; convert it"):
        read(path, COLUMNS, ["J"], "galactic")
