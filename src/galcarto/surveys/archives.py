"""Star catalogues from archives that support TAP (IVOA Table Access Protocol 1.1), page by page.

A page is a box on the sky whose stars fit in one response. Each page is queried twice, first for its number of stars,
and stored as received, beside a note of the query, the number of rows and the sha256. Valid pages are not fetched
again.

pyvo is not used: it keeps no response as received, does not retry, and its status check is as long as `_table`'s.
"""

import gzip
import json
import logging
import os
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import astropy.units as u
import numpy as np
import pandas as pd
import requests
from astropy.coordinates import SkyCoord
from astropy.io.votable.exceptions import VOTableSpecError
from astropy.io.votable.tree import VOTableFile
from astropy.table import Table
from tqdm import tqdm

from galcarto.core.download import Client, TransientError
from galcarto.core.errors import UserError, first_line
from galcarto.core.provenance import file_sha256
from galcarto.core.sky import to_galactic
from galcarto.core.tables import WEB_PAGE, floats, parse_votable, query_status
from galcarto.surveys.catalogue import measured

STRIP = 1.0  # deg of longitude, of the first boxes
SMALLEST = 1e-3  # deg; smaller boxes are not split
MARGIN = 2 / 3600  # deg, of a polygon around its box
EDGE = 0.25  # deg between a polygon's corners
# reasons that a smaller page mends, and reasons that pass
TIME_LIMIT = re.compile(r"time[ -]?(d )?(limit|out)|time (is )?(exceeded|over)|too long|duration", re.IGNORECASE)
PASSING = re.compile(
    r"try again|try later|temporar|overload|too many|busy|unavailable|maintenance|queue|connection", re.IGNORECASE
)
POGSON = 2.5 / np.log(10)


class ArchiveError(UserError):
    """A response of an archive that cannot be used."""


class MissingPagesError(ArchiveError):
    """Pages that do not exist or are damaged."""


@dataclass(frozen=True)
class Archive:
    """Address, table and columns of a survey in an archive.

    Attributes
    ----------
    survey : str
    url : str
        Address of the service for synchronous queries.
    table, identifier : str
        Table and column of the stars' unique names, quoted as ADQL requires.
    ra, dec : str
        Columns of the ICRS coordinates in deg.
    bands : dict of (str, str)
        Columns of the magnitude and its error. A magnitude without an error is not a measurement.
    errors_are_ratios : bool
        Whether the error columns hold flux over error.
    others : dict of str
        Further columns: our name to the archive's.
    """

    survey: str
    url: str
    table: str
    identifier: str
    ra: str
    dec: str
    bands: dict[str, tuple[str, str]]
    errors_are_ratios: bool = False
    others: dict[str, str] = field(default_factory=dict)


# Queries use the geometry of ADQL 2.0, CONTAINS(POINT('ICRS', ...), POLYGON('ICRS', ...)) = 1, which astroquery sends
# to IRSA for fp_psc. Every archive below indexes ICRS positions, not galactic coordinates.
ARCHIVES = {
    # Cutri et al. 2003, VizieR II/246. Address and the quoting of "II/246/out" and "2MASS":
    # https://tapvizier.cds.unistra.fr/adql/about.html. Columns: ReadMe of II/246. e_Jmag, e_Hmag and e_Kmag are empty
    # where the magnitude is an upper limit.
    "vizier-2mass": Archive(
        survey="2mass",
        url="https://tapvizier.cds.unistra.fr/TAPVizieR/tap/sync",
        table='"II/246/out"',
        identifier='"2MASS"',
        ra="RAJ2000",
        dec="DEJ2000",
        bands={"J": ("Jmag", "e_Jmag"), "H": ("Hmag", "e_Hmag"), "Ks": ("Kmag", "e_Kmag")},
    ),
    # The same catalogue at its own archive. Address and table: https://irsa.ipac.caltech.edu/docs/program_interface/TAP.html.
    # Columns: https://ipac.caltech.edu/2mass/releases/allsky/doc/ancillary/pscformat.html (j_m holds an upper limit
    # where nothing was detected; designation has a letter where two stars would share one).
    "irsa-2mass": Archive(
        survey="2mass",
        url="https://irsa.ipac.caltech.edu/TAP/sync",
        table="fp_psc",
        identifier="designation",
        ra="ra",
        dec="dec",
        bands={"J": ("j_m", "j_msigcom"), "H": ("h_m", "h_msigcom"), "Ks": ("k_m", "k_msigcom")},
    ),
    # Gaia Collaboration, Vallenari et al. 2023. Columns: data model of Gaia DR3, gaia_source. It has no errors of
    # magnitudes, only fluxes over their errors.
    "gaia-dr3": Archive(
        survey="gaia",
        url="https://gea.esac.esa.int/tap-server/tap/sync",
        table="gaiadr3.gaia_source",
        identifier="source_id",
        ra="ra",
        dec="dec",
        bands={
            "G": ("phot_g_mean_mag", "phot_g_mean_flux_over_error"),
            "BP": ("phot_bp_mean_mag", "phot_bp_mean_flux_over_error"),
            "RP": ("phot_rp_mean_mag", "phot_rp_mean_flux_over_error"),
        },
        errors_are_ratios=True,
        others={"parallax": "parallax", "parallax_error": "parallax_error"},
    ),
}


class Box(NamedTuple):
    """A box in galactic longitude, which may pass 360, and latitude, deg; its upper edges do not belong to it."""

    l_low: float
    l_high: float
    b_low: float
    b_high: float

    @property
    def name(self) -> str:
        """Name for files and messages."""
        return f"l{self.l_low:.6f}_{self.l_high:.6f}_b{self.b_low:.6f}_{self.b_high:.6f}"

    @property
    def width(self) -> float:
        """Largest extent in longitude, deg on the sky."""
        nearest = 0.0 if self.b_low < 0 < self.b_high else min(abs(self.b_low), abs(self.b_high))
        return (self.l_high - self.l_low) * float(np.cos(np.radians(nearest)))

    def halves(self) -> tuple["Box", "Box"]:
        """Split the box across its longer side."""
        if self.width > self.b_high - self.b_low:
            middle = 0.5 * (self.l_low + self.l_high)
            return self._replace(l_high=middle), self._replace(l_low=middle)
        middle = 0.5 * (self.b_low + self.b_high)
        return self._replace(b_high=middle), self._replace(b_low=middle)

    def holds(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return True for the points in the box."""
        l = self.l_low + np.mod(l - self.l_low, 360.0)
        return (l < self.l_high) & (b >= self.b_low) & (b < self.b_high)

    def polygon(self) -> str:
        """ADQL of a polygon in ICRS that contains the box.

        A circle of latitude is not a great circle. Corners at most 0.25 deg apart follow it within 0.25 arcsec, and a
        margin of 2 arcsec covers the rest. `holds` removes what lies between box and polygon. The corners run
        counter-clockwise as seen from inside the sphere, as DALI 1.1 requires.
        """
        low, high = (float(np.clip(b, -89.999, 89.999)) for b in (self.b_low - MARGIN, self.b_high + MARGIN))
        margin = MARGIN / float(np.cos(np.radians(max(abs(low), abs(high)))))
        steps = int(np.ceil((self.l_high - self.l_low) / EDGE)) + 1
        l = np.linspace(self.l_low - margin, self.l_high + margin, steps)
        corners = SkyCoord(
            np.concatenate([l, l[::-1]]) * u.deg,
            np.repeat([high, low], steps) * u.deg,
            frame="galactic",
        ).icrs
        numbers = np.stack([corners.ra.deg, corners.dec.deg], axis=1).ravel()
        return f"POLYGON('ICRS', {', '.join(f'{number:.7f}' for number in numbers)})"


def strips(l: tuple[float, float], b: tuple[float, float]) -> list[Box]:
    """Split a window into boxes a degree of longitude wide; the last may be narrower."""
    edges = [*np.arange(l[0], l[1] - 1e-9, STRIP).tolist(), l[1]]
    return [Box(low, high, *b) for low, high in pairwise(edges)]


class Pages:
    """Pages of one archive, stored in a folder.

    Parameters
    ----------
    archive : Archive
    bands : list of str
    folder : path
    client : Client
    url : str or None
        Another address of the same service.
    rows : int
        Largest number of stars on a page.

    Raises
    ------
    ArchiveError
        If the archive lacks a band.
    """

    def __init__(
        self,
        archive: Archive,
        bands: Sequence[str],
        folder: str | Path,
        client: Client,
        url: str | None = None,
        rows: int = 50_000,
    ) -> None:
        unknown = [band for band in bands if band not in archive.bands]
        if unknown:
            raise ArchiveError(
                f"{archive.table}: found the bands {', '.join(archive.bands)}; expected also {', '.join(unknown)} "
                "(surveys.limits)"
            )
        self.archive, self.bands, self.folder, self.client, self.rows = archive, list(bands), Path(folder), client, rows
        self.url = url or archive.url
        # our names are in lower case, as a service may change the case of unquoted names, and avoid words that a
        # database could reserve, such as dec
        self.columns = {"star": archive.identifier, "alpha": archive.ra, "delta": archive.dec}
        for band in bands:
            self.columns[f"mag_{band.lower()}"], self.columns[f"error_{band.lower()}"] = archive.bands[band]
        self.columns |= archive.others

    def path(self, box: Box) -> Path:
        """File of a page, which need not exist."""
        return self.folder / f"{box.name}.vot"

    def _where(self, box: Box) -> str:
        point = f"POINT('ICRS', {self.archive.ra}, {self.archive.dec})"
        return f"FROM {self.archive.table} WHERE 1 = CONTAINS({point}, {box.polygon()})"

    def _query(self, box: Box) -> str:
        names = ", ".join(f"{theirs} AS {ours}" for ours, theirs in self.columns.items())
        return f"SELECT {names} {self._where(box)}"

    def _note(self, box: Box) -> dict[str, Any] | None:
        """Valid note of a box from an earlier run: number of rows, and sha256 of its page if there is one."""
        path = self.path(box)
        try:
            note = json.loads(path.with_suffix(".json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        if note["query"] != self._query(box) or note["url"] != self.url:
            return None
        if note["sha256"] is not None:
            found = file_sha256(path) if path.is_file() else "no file"
            if found != note["sha256"]:
                logging.warning("%s: found sha256 %s, expected %s; fetching it again", path, found, note["sha256"])
                return None
        elif 0 < note["rows"] <= self.rows:
            return None  # it was split before, but fits on a page now
        return note

    def leaves(self, boxes: Sequence[Box]) -> tuple[list[Box], list[Box]]:
        """Split boxes into pages as far as the notes in the folder allow.

        Returns
        -------
        complete, missing : list of Box
            Boxes with valid pages or without stars, and boxes that have to be fetched.
        """
        complete, missing, todo = [], [], list(reversed(boxes))
        while todo:
            box = todo.pop()
            note = self._note(box)
            if note is None:
                missing.append(box)
            elif note["sha256"] is None and note["rows"]:
                todo += reversed(box.halves())
            else:
                complete.append(box)
        return complete, missing

    def fetch(self, boxes: Sequence[Box]) -> None:
        """Fetch the missing pages.

        Raises
        ------
        ArchiveError, DownloadError
            At the first response that cannot be used; earlier pages are kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        complete, todo = self.leaves(boxes)
        logging.info("%s: %d pages already exist", self.folder, len(complete))
        todo.reverse()
        with tqdm(total=len(todo), desc="pages", unit="page", mininterval=5, disable=not todo) as bar:
            while todo:
                box = todo.pop()
                expected = self._count(box)
                if expected > self.rows:
                    if max(box.width, box.b_high - box.b_low) < SMALLEST:
                        raise ArchiveError(
                            f"{self.url}: found {expected} stars in {box.name}, smaller than {SMALLEST} deg; "
                            "expected fewer; raise page in sky.archives"
                        )
                    self._keep(box, expected, None)
                    todo += reversed(box.halves())
                    bar.total = bar.n + 1 + len(todo)
                else:
                    self._keep(box, expected, self._page(box, expected) if expected else None)
                bar.update()

    def _count(self, box: Box) -> int:
        """Query the number of stars in a box."""
        _, table = self._ask(f"SELECT COUNT(*) AS stars {self._where(box)}", 2)
        if table.colnames != ["stars"] or len(table) != 1:
            raise ArchiveError(
                f"{self.url}: found {len(table)} rows of {', '.join(table.colnames)}; expected one number of stars"
            )
        return int(table["stars"][0])

    def _page(self, box: Box, expected: int) -> bytes:
        """Query the stars of a box and check the response."""
        # one more row than expected reveals a response that stops at the limit
        body, table = self._ask(self._query(box), expected + 1)
        absent = [name for name in self.columns if name not in table.colnames]
        if absent:
            raise ArchiveError(
                f"{self.url}: found the columns {', '.join(table.colnames)}; expected also {', '.join(absent)}"
            )
        if len(table) != expected:
            raise ArchiveError(
                f"{self.url}: found {len(table)} rows in {box.name}; expected {expected}, which it counted before; "
                "the response is cut or the table is changing: run again, and if this persists, use another archive"
            )
        identifiers = np.asarray(table["star"])
        if len(np.unique(identifiers)) < expected:
            values, number = np.unique(identifiers, return_counts=True)
            raise ArchiveError(
                f"{self.url}: found {values[number > 1][0]} more than once in {box.name}; expected each star once"
            )
        return body

    def _keep(self, box: Box, rows: int, body: bytes | None) -> None:
        """Write a page and then its note, so that a note implies a complete page."""
        path, digest = self.path(box), None
        if body is None:
            path.unlink(missing_ok=True)  # of another query
        else:
            _write(path, body)
            digest = file_sha256(path)
        note = {"url": self.url, "query": self._query(box), "rows": rows, "sha256": digest}
        _write(path.with_suffix(".json"), json.dumps(note, indent=2).encode())

    def _ask(self, query: str, most: int) -> tuple[bytes, Table]:
        """Response to a query, as received and as a table with names in lower case."""
        form = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable", "MAXREC": str(most), "QUERY": query}

        def attempt() -> tuple[bytes, Table]:
            try:
                # with status 400, TAP sends the reason as a VOTable; some services do with 500
                with self.client.request("POST", self.url, accepted=(200, 400), data=form) as response:
                    body = _unpacked(response.content)
            except TransientError as error:
                _refuse(self.url, _reason(error.body))
                raise
            return body, _table(self.url, response, body)

        return self.client.retry(self.url, attempt)

    def read(self, boxes: Sequence[Box]) -> tuple[pd.DataFrame, list[Path]]:
        """Read the stars of boxes.

        Returns
        -------
        stars : DataFrame
            ``l``, ``b`` (deg), each band and its error (mag), ``detected`` as from `catalogue.read`, and the archive's
            further columns, in the order of the archive's identifiers.
        pages : list of path

        Raises
        ------
        MissingPagesError
            If a page is missing or damaged.
        ArchiveError
            If a star is on two pages.
        """
        complete, missing = self.leaves(boxes)
        if missing:
            names = ", ".join(box.name for box in missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise MissingPagesError(
                f"{self.folder}: found {len(complete)} pages; {len(missing)} are missing or damaged ({names})"
            )
        filled = [box for box in complete if self.path(box).is_file()]
        if not filled:
            return pd.DataFrame(columns=["l", "b", *self.bands], dtype=float), []
        stars = pd.concat([self._stars(box) for box in filled], ignore_index=True)
        twice = stars["star"].duplicated()
        if twice.any():
            raise ArchiveError(
                f"{self.folder}: found {stars['star'][twice].iloc[0]} on two pages; expected each star on one; "
                "the archive has changed between them: delete the folder and run again"
            )
        stars = stars.sort_values("star", ignore_index=True).drop(columns="star")
        return stars, [self.path(box) for box in filled]

    def _stars(self, box: Box) -> pd.DataFrame:
        """Stars of a page that lie in its box."""
        table = _rows(parse_votable(self.path(box).read_bytes()))
        values = {name: floats(table[name]) for name in self.columns if name != "star"}
        l, b = to_galactic(values.pop("alpha"), values.pop("delta"), "icrs")
        stars: dict[str, np.ndarray] = {"star": np.asarray(table["star"]), "l": l, "b": b}
        detected = np.ones(len(table), bool)
        for band in self.bands:
            magnitude, error = values.pop(f"mag_{band.lower()}"), values.pop(f"error_{band.lower()}")
            if self.archive.errors_are_ratios:
                with np.errstate(divide="ignore"):
                    error = POGSON / error
            stars[band], stars[f"{band}_error"] = magnitude, error
            detected &= measured(magnitude, error)
        stars["detected"] = detected
        return pd.DataFrame(stars | values)[box.holds(l, b)]


def _write(path: Path, body: bytes) -> None:
    """Write a file completely or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(body)
    os.replace(part, path)


def _unpacked(body: bytes) -> bytes:
    """A response, unpacked if it is a gzip file whose header does not say so."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        return gzip.decompress(body)
    except (EOFError, OSError, zlib.error) as error:
        raise TransientError(f"found a gzip file of {len(body)} bytes that cannot be unpacked ({error})") from None


def _reason(body: bytes) -> str | None:
    """Error that a service states in the VOTable of a response, if it is one."""
    with suppress(VOTableSpecError, ValueError, TransientError):
        return query_status(parse_votable(_unpacked(body)))[0]
    return None


def _refuse(url: str, reason: str | None) -> None:
    """Raise the error that a service states, if it does.

    Raises
    ------
    TransientError
        If the reason may pass.
    ArchiveError
        If it stays.
    """
    if reason is None:
        return
    if TIME_LIMIT.search(reason):
        raise ArchiveError(f"{url}: found the error '{reason}'; expected a table; lower page in sky.archives")
    if PASSING.search(reason):
        raise TransientError(f"found the error '{reason}'")
    raise ArchiveError(f"{url}: found the error '{reason}'; expected a table")


def _rows(votable: VOTableFile) -> Table:
    """First table, with names in lower case."""
    table = votable.get_first_table().to_table(use_names_over_ids=True)
    table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
    return table


def _table(url: str, response: requests.Response, body: bytes) -> Table:
    """Table in a response.

    Raises
    ------
    TransientError
        If the response is cut.
    ArchiveError
        If it is an error, incomplete, or not a table.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    # a service may call its VOTable text/plain or application/octet-stream
    if WEB_PAGE.match(body) or not ("xml" in kind or re.search(rb"<(\w+:)?VOTABLE\b", body[:4096])):
        raise ArchiveError(
            f"{url}: found {kind or 'no content type'} that says '{first_line(body.decode(errors='replace'))}'; "
            "expected a VOTable; open the address in a browser: the service may be down, or its address wrong (url in "
            "sky.archives)"
        )
    if not re.search(rb"</(\w+:)?VOTABLE\s*>\s*(<!--.*?-->\s*)*$", body, re.IGNORECASE | re.DOTALL):
        raise TransientError(f"found a VOTable that stops after {len(body)} bytes; expected its end")
    unreadable = f"{url}: found a VOTable without a table that can be read"
    try:
        votable = parse_votable(body)
    except (VOTableSpecError, ValueError) as error:
        raise ArchiveError(f"{unreadable} ({error}); expected one; use another archive") from None
    reason, overflow = query_status(votable)
    _refuse(url, reason)
    if overflow:
        raise ArchiveError(
            f"{url}: found the overflow flag: the service sends fewer rows than a page has; expected a whole page; "
            "lower page in sky.archives"
        )
    if response.status_code != 200:
        raise ArchiveError(f"{url}: found status {response.status_code} without a reason; expected 200")
    try:
        return _rows(votable)
    except IndexError:
        raise ArchiveError(f"{unreadable}; expected one; use another archive") from None
