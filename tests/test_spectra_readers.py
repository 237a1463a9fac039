"""Readers of spectra: the formats that people have, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.io.votable.tree import Field, Param, Resource, TableElement, VOTableFile

from galcarto.spectra.read import read_spectra
from galcarto.spectra.spectra import LARGEST, Spectra, SpectraError
from galcarto.spectra.xp import GRID

UNIT = "W.nm**-1.m**-2"  # as GaiaXPy writes it


@pytest.fixture
def two(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flux and error of two stars, W m-2 nm-1."""
    flux = 1e-16 * (1.0 + 0.3 * rng.random((2, len(GRID))))
    return flux, 0.01 * flux


def write_csv(path: Path, flux: np.ndarray, error: np.ndarray, grid: np.ndarray = GRID) -> Path:
    """As GaiaXPy's calibrate: arrays in brackets, and the sampling beside."""
    cells = {name: [str(tuple(row.tolist())) for row in v] for name, v in (("flux", flux), ("flux_error", error))}
    pd.DataFrame({"source_id": np.arange(len(flux)) + 4_000_000_000_000_000_001} | cells).to_csv(path, index=False)
    sampling = pd.DataFrame({"pos": [str(tuple(grid.tolist()))]})
    sampling.to_csv(path.with_name(f"{path.stem}_sampling.csv"), index=False)
    return path


def write_ecsv(path: Path, flux: np.ndarray, error: np.ndarray, grid: np.ndarray = GRID) -> Path:
    write_csv(path.with_suffix(".csv"), flux, error)
    body = path.with_suffix(".csv").read_text().replace("(", "[").replace(")", "]")
    fields = "".join(
        f"# -\n#   name: {name}\n#   datatype: string\n#   unit: {UNIT}\n" for name in ("flux", "flux_error")
    )
    path.write_text(f"# %ECSV 1.0\n# ---\n# datatype:\n{fields}# meta:\n#   sampling: {grid.tolist()}\n{body}")
    path.with_name(f"{path.stem}_sampling.csv").unlink()
    return path


def write_fits(path: Path, flux: np.ndarray, error: np.ndarray, unit: str = UNIT) -> Path:
    columns = [
        fits.Column("source_id", "K", array=np.arange(len(flux)) + 4_000_000_000_000_000_001),
        fits.Column("flux", f"{flux.shape[1]}D", unit=unit, array=flux),
        fits.Column("flux_error", f"{flux.shape[1]}E", unit=unit, array=error),
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["Sampling"] = str(tuple(GRID.tolist()))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def write_votable(path: Path, flux: np.ndarray, error: np.ndarray) -> Path:
    file, resource = VOTableFile(), Resource()
    file.resources.append(resource)
    table = TableElement(file)
    resource.tables.append(table)
    table.params.append(Param(file, name="sampling", datatype="double", arraysize="*", unit="nm", value=list(GRID)))
    table.fields.extend(
        [
            Field(file, name="source_id", datatype="long"),
            Field(
                file, name="flux", ID="_flux", datatype="double", arraysize=str(flux.shape[1]), unit="W.nm**-1.m**-2"
            ),
            Field(file, name="flux_error", ID="_flux_error", datatype="float", arraysize=str(flux.shape[1])),
        ]
    )
    table.create_arrays(len(flux))
    for row, pair in enumerate(zip(flux, error, strict=True)):
        table.array[row] = (4_000_000_000_000_000_001 + row, *pair)
    file.to_xml(str(path))
    return path


@pytest.mark.parametrize(
    ("write", "name"), [(write_csv, "a.csv"), (write_ecsv, "a.ecsv"), (write_fits, "a.fits"), (write_votable, "a.xml")]
)
def test_gaiaxpys_formats_give_the_same_spectra(write, name, two, tmp_path: Path) -> None:
    flux, error = two
    found = read_spectra([str(write(tmp_path / name, flux, error))])
    middle = np.median(flux, axis=1)
    np.testing.assert_allclose(found.flux, flux / middle[:, None], rtol=1e-6)
    np.testing.assert_allclose(found.error, error / middle[:, None], rtol=1e-6)
    np.testing.assert_allclose(found.stars["median_flux"], middle)
    assert found.stars["id"].tolist() == ["4000000000000000001", "4000000000000000002"]  # no float has these digits
    np.testing.assert_array_equal(found.wavelength, GRID)
    np.testing.assert_allclose(found.snr(), 100.0)


def test_the_archives_rows_of_one_pixel_are_read(two, tmp_path: Path) -> None:
    flux, error = two
    rows = [
        {"source_id": star, "wavelength": at, "flux": f, "flux_error": e}
        for star in (1, 0)  # the order of the file stays
        for at, f, e in zip(GRID, flux[star], error[star], strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "long.csv", index=False)
    found = read_spectra([str(tmp_path / "long.csv")])
    assert found.stars["id"].tolist() == ["1", "0"]
    np.testing.assert_allclose(found.flux[0], flux[1] / np.median(flux[1]), rtol=1e-6)


def test_the_table_of_the_package_is_read(two, tmp_path: Path) -> None:
    """Its columns are named by APOGEE and by a cross-match."""
    flux, error = (values / np.median(values[0]) for values in two)
    numbers = {
        "snr": [99.0, 98.0],
        "teff": [4500.0, 5000.0],
        "teff_err": [9.0, 8.0],
        "j": [9.0, 8.5],
        "ak_targ": [0.1, -86],
    }
    columns = [
        fits.Column("apogee_id", "30A", array=["2M1", "2M2"]),
        fits.Column("gaiaedr3_source_id", "K", array=[7, 8]),
        *(fits.Column(name, "E", array=values) for name, values in numbers.items()),
        *(fits.Column(name, "343E", array=v) for name, v in (("flux", flux), ("flux_error", error))),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "library.fits.gz")
    stars = read_spectra([str(tmp_path / "library.fits.gz")]).stars
    assert stars["id"].tolist() == ["7", "8"]
    assert stars["teff_error"].tolist() == [9.0, 8.0]
    assert stars["J"].tolist() == [9.0, 8.5]
    assert stars["a_k"].tolist() == pytest.approx([0.1, -86.0])


def test_pixels_that_cannot_be_flux_are_masked_and_counted(two) -> None:
    flux, error = (values.copy() / 1e-16 for values in two)
    flux[0, :5], error[0, 5:7], flux[0, 7] = np.nan, 0.0, -12.0
    flux[0, 8], error[0, 9], flux[0, 10] = 2 * LARGEST, -1.0, 290.0
    stars = pd.DataFrame({"id": ["a", "a"]})
    found = Spectra.clean(GRID, flux, error, stars)
    assert found.faults == {
        "spectra": 2,
        "pixels_without_flux": 5,
        "pixels_without_error": 3,
        "pixels_negative": 1,
        "pixels_wild": 1,
        "spectra_without_light": 0,
        "repeated_stars": 1,
    }
    assert np.flatnonzero(np.isnan(found.flux[0])).tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert found.flux[0, 7] < -5.0  # noise about little light stays, as does a red star's bright end
    assert found.stars["repeated"].tolist() == [False, True]
    dark = Spectra.clean(GRID, -flux, error, stars)
    assert dark.faults["spectra_without_light"] == 2
    assert np.isnan(dark.flux).all()


def test_another_grid_is_refused_and_a_part_of_the_grid_is_masked(two, tmp_path: Path) -> None:
    flux, error = two
    part = read_spectra([str(write_csv(tmp_path / "part.csv", flux[:, 20:], error[:, 20:], GRID[20:]))]).on_grid(GRID)
    assert np.isnan(part.flux[:, :20]).all()
    assert np.isfinite(part.flux[:, 20:]).all()
    assert part.faults["pixels_absent"] == 40
    shifted = read_spectra([str(write_csv(tmp_path / "shifted.csv", flux, error, GRID + 0.7))])
    with pytest.raises(SpectraError, match=r"343 pixels from 336.70 to 1020.70 nm, of which 0 are among the network's"):
        shifted.on_grid(GRID)


def test_what_is_no_xp_spectrum_is_refused_by_name(two, tmp_path: Path) -> None:
    flux, error = two

    def refused(path: Path, match: str) -> None:
        with pytest.raises(SpectraError, match=match):
            read_spectra([str(path)])

    refused(tmp_path / "none.csv", "not found")
    (tmp_path / "empty.csv").write_text("")
    refused(tmp_path / "empty.csv", "empty file")
    (tmp_path / "rows.csv").write_text("source_id,flux,flux_error\n")
    refused(tmp_path / "rows.csv", "no row")
    (tmp_path / "names.csv").write_text("a,b\n1,2\n")
    refused(tmp_path / "names.csv", "found the columns a, b, not flux, flux_error")
    (tmp_path / "continuous.csv").write_text("source_id,bp_coefficients\n1,2\n")
    refused(tmp_path / "continuous.csv", "run gaiaxpy.calibrate")
    refused(write_fits(tmp_path / "counts.fits", flux, error, unit="electron/s"), "found flux in electron/s")
    whole = write_fits(tmp_path / "whole.fits", flux, error).read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:9000])
    refused(tmp_path / "cut.fits", "get it again")
    write_csv(tmp_path / "few.csv", flux[:, :100], error[:, :100])
    (tmp_path / "few_sampling.csv").unlink()
    refused(tmp_path / "few.csv", "found 100 pixels without wavelengths")
    with pytest.raises(SpectraError, match="no file"):
        read_spectra([])


def apstar(path: Path, flux: np.ndarray, third: np.ndarray) -> Path:
    """As APOGEE writes: log10 of the wavelength from 4.179 in steps of 6e-6."""
    parts = [fits.ImageHDU(values) for values in (flux, 0.01 * np.abs(flux) + 0.01, third)]
    for part in parts:
        part.header.update(CRVAL1=4.179, CDELT1=6e-6)
    first = fits.PrimaryHDU()
    first.header["OBJID"] = "2M00000000+0000000"
    fits.HDUList([first, *parts]).writeto(path)
    return path


def test_apogees_files_are_read(rng: np.random.Generator, tmp_path: Path) -> None:
    flux = 100.0 + rng.random((3, 8575)).astype("f4")  # combined in two ways, and one visit
    mask = np.zeros((3, 8575), "i4")
    mask[0, 10], mask[0, 11] = 1 << 12, 1 << 9  # a bright sky line; persistence, which is no fault
    found = read_spectra([str(apstar(tmp_path / "apStar.fits", flux, mask))])
    assert found.wavelength[0] == pytest.approx(1510.080, abs=1e-3)  # nm: 10^4.179 Angstrom
    assert np.flatnonzero(np.isnan(found.flux[0])).tolist() == [10]
    assert found.stars["id"].tolist() == ["2M00000000+0000000"]
    np.testing.assert_allclose(found.flux[0, 20:], flux[0, 20:] / np.median(np.delete(flux[0], 10)), rtol=1e-6)
    normal = flux[0] / 100.0
    normal[:4] = 0.0  # outside the detector
    found = read_spectra([str(apstar(tmp_path / "aspcapStar.fits", normal, normal))])
    assert np.flatnonzero(np.isnan(found.flux[0])).tolist() == [0, 1, 2, 3]


def test_boss_files_of_different_starts_share_a_grid(rng: np.random.Generator, tmp_path: Path) -> None:
    paths = []
    for number, first in enumerate((35500, 35503)):
        loglam = np.arange(first, 39600) / 1e4
        inverse = np.full(len(loglam), 4.0)
        inverse[5] = 0.0
        columns = {"flux": np.ones(len(loglam)), "loglam": loglam, "ivar": inverse}
        hdu = fits.BinTableHDU.from_columns([fits.Column(name, "E", array=v) for name, v in columns.items()])
        head = fits.PrimaryHDU()
        head.header.update(PLATEID=3586, MJD=55181, FIBERID=number)
        paths.append(str(tmp_path / f"spec-3586-55181-{number:04d}.fits"))
        fits.HDUList([head, hdu]).writeto(paths[-1])
    found = read_spectra(paths)
    assert found.flux.shape == (2, 4100)
    assert found.stars["id"].tolist() == ["3586-55181-0", "3586-55181-1"]
    assert np.flatnonzero(np.isnan(found.flux[1])).tolist() == [0, 1, 2, 8]
    assert np.nanmax(found.error) == pytest.approx(0.5)


@pytest.mark.real
def test_the_real_table_is_read(observations: Path) -> None:
    found = read_spectra([str(observations / "xp_apogee" / "xp_apogee.nc")])
    assert len(found) == 34091
    assert found.faults["repeated_stars"] == len(found) - found.stars["id"].nunique()
    assert found.faults["pixels_negative"] == 51516
    assert found.faults["pixels_wild"] == 0
    assert {"teff", "logg", "fe_h", "alpha_m", "a_k", "teff_error", "J", "BP"} <= set(found.stars)
