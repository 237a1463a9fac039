"""Archives and downloads, against a server of ours that also misbehaves."""

import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from astropy.coordinates import SkyCoord
from matplotlib.path import Path as Outline
from test_workflow import copy_project, planned, snakemake

from galcarto import __version__
from galcarto.__main__ import main
from galcarto.core import download
from galcarto.core.download import Client, DownloadError, fetch
from galcarto.core.errors import first_line
from galcarto.dustmap.settings import read_settings
from galcarto.surveys.archives import ARCHIVES, ArchiveError, Box, MissingPagesError, Pages, strips

WINDOW = (358.5, 361.0), (-0.5, 0.5)
STARS = 3000
REASON = '<VOTABLE><RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">{}</INFO></RESOURCE></VOTABLE>'
PAGE = "<!DOCTYPE html>\n<html><head><style>p {}</style></head><body><h1>Down for maintenance</h1></body></html>"
MAP = np.random.default_rng(3).bytes(300_000)


def sky(archive: str, rng: np.random.Generator) -> pd.DataFrame:
    """An archive's table: stars in the window and around it, columns named as it names them."""
    entry = ARCHIVES[archive]
    l, b = rng.uniform(358.4, 361.1, STARS), rng.uniform(-0.6, 0.6, STARS)
    where = SkyCoord(l * u.deg, b * u.deg, frame="galactic").icrs
    table = pd.DataFrame({entry.ra: where.ra.deg, entry.dec: where.dec.deg})
    numbers = np.arange(STARS)
    table[entry.identifier] = (
        numbers + 4_000_000_000_000_000_000
        if archive == "gaia-dr3"
        else [f"{number:08d}+0000000" for number in numbers]
    )
    for i, (magnitude, error) in enumerate(entry.bands.values()):
        table[magnitude] = rng.uniform(10, 14, STARS) - i
        table[error] = rng.uniform(20, 50, STARS) if entry.errors_are_ratios else rng.uniform(0.02, 0.1, STARS)
        table.loc[i::50, error] = np.nan  # an upper limit
    for column in entry.others.values():
        table[column] = rng.normal(size=STARS)
    table.attrs = {"l": l, "b": b}
    return table


def inside(query: str, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Which points are in a query's polygon: gnomonic projection turns its great circles into straight lines."""
    numbers = np.array(re.search(r"POLYGON\('ICRS', ([^)]*)\)", query)[1].split(","), float)
    corners = SkyCoord(numbers[::2] * u.deg, numbers[1::2] * u.deg)
    centre = SkyCoord(corners.cartesian.mean(), representation_type="unitspherical")
    frame = SkyCoord(centre.ra, centre.dec).skyoffset_frame()

    def flat(points: SkyCoord) -> np.ndarray:
        x, y, z = points.transform_to(frame).cartesian.xyz.value
        return np.stack([y / x, z / x], axis=1)

    return Outline(flat(corners)).contains_points(flat(SkyCoord(ra * u.deg, dec * u.deg)))


class Server(ThreadingHTTPServer):
    """A TAP service at /tap and a file at /map.fits.

    `script` holds a fault for each of the next requests; "" and whatever comes after the last is a good answer.
    """

    daemon_threads = True

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.table, self.file, self.etag = table, MAP, '"1"'
        self.early = False  # flag an overflow when an answer reaches the limit, not beyond it
        self.script: list[str] = []
        self.log: list[dict[str, str]] = []
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, kind: str) -> list[str]:
        """Queries of a kind since the log was emptied."""
        return [entry["query"] for entry in self.log if entry["kind"] == kind]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def fault(self) -> str:
        return self.server.script.pop(0) if self.server.script else ""

    def send(
        self, body: bytes, kind: str, fault: str, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        headers = dict(headers or {})
        if fault.isdigit() or fault.startswith("wait"):
            status = 503 if fault.startswith("wait") else int(fault)
            headers |= {"Retry-After": fault.split(" ", 1)[1]} if fault.startswith("wait") else {}
            body, kind = PAGE.encode(), "text/html"
        elif fault.startswith("html"):
            body, kind = PAGE.encode(), "text/html" if fault == "html" else "application/xml"
        elif fault == "silence":
            self.server.closing.wait(2)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if fault != "cut without length":
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault.startswith("cut") else body)

    def do_GET(self) -> None:
        span = self.headers.get("Range", "")
        self.server.log.append({"kind": "file", "query": span, "agent": self.headers["User-Agent"]})
        file, headers, status = self.server.file, {"ETag": self.server.etag} if self.server.etag else {}, 200
        if span and self.headers.get("If-Range", self.server.etag) == self.server.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", span)[1])
            if start >= len(file):
                self.send(b"", "text/plain", "", 416, {"Content-Range": f"bytes */{len(file)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(file) - 1}/{len(file)}"
            file, status = file[start:], 206
        self.send(file, "application/fits", self.fault(), status, headers)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert form["REQUEST"] == ["doQuery"]
        assert form["LANG"] == ["ADQL"]
        query, most, fault = form["QUERY"][0], int(form["MAXREC"][0]), self.fault()
        kind = "count" if "COUNT(*)" in query else "rows"
        self.server.log.append({"kind": kind, "query": query, "agent": self.headers["User-Agent"]})
        ra, dec = re.search(r"POINT\('ICRS', (\S+), (\S+)\)", query).groups()
        found = self.server.table[inside(query, self.server.table[ra].to_numpy(), self.server.table[dec].to_numpy())]
        if kind == "count":
            rows = pd.DataFrame({"stars": [len(found)]})
        else:
            pairs = [word.split(" AS ") for word in query[len("SELECT ") : query.index(" FROM ")].split(", ")]
            rows = pd.DataFrame({ours: found[theirs] for theirs, ours in pairs})
        if fault == "fewer":
            rows = rows[1:]
        elif fault == "twice":
            rows = pd.concat([rows[:1], rows[:-1]])
        elif fault == "overflow" or (self.server.early and len(rows) == most):
            most = len(rows) - 1
        status = 400 if fault in ("error", "400 without a reason") else 200
        kind, headers, body = "application/x-votable+xml", {}, votable(rows, most, fault)
        if fault.startswith("moved"):
            _, status, target = fault.split(" ")
            headers, body = {"Location": target}, b""
        elif fault.startswith("says"):
            _, status, reason = fault.split(" ", 2)
            body = REASON.format(reason).encode()
        elif fault.startswith("gzip"):
            body = gzip.compress(body)[: None if fault == "gzip" else 200]
        elif fault.startswith("as "):
            kind = fault.removeprefix("as ")
        elif fault == "comment":
            body += b"\n<!-- 0.2 s -->\n<!-- bye -->\n"
        self.send(body, kind, "" if fault[:4] in ("move", "says") else fault, int(status), headers)


def votable(rows: pd.DataFrame, most: int, fault: str) -> bytes:
    """An answer as TAP 1.1 wants it: the overflow flag comes after the table."""
    if fault == "error":
        status, table = '<INFO name="QUERY_STATUS" value="ERROR">Unknown column "Jmag"</INFO>', ""
    else:
        status = '<INFO name="QUERY_STATUS" value="OK"/>'
        fields = ""
        for name, column in rows.items():
            kind = {"f": "double", "i": "long"}.get(column.dtype.kind, "char")
            # not all services keep the case
            name = "Other" if fault == "other column" and name in ("alpha", "stars") else str(name).upper()
            size = 'arraysize="*"' if kind == "char" else ""
            fields += f'<FIELD name="{name}" datatype="{kind}" {size}/>'
        cells = (
            "".join(f"<TD>{'' if pd.isna(value) else value!s}</TD>" for value in row)
            for row in rows[:most].itertuples(index=False)
        )
        data = "".join(f"<TR>{row}</TR>" for row in cells)
        table = f"<TABLE>{fields}<DATA><TABLEDATA>{data}</TABLEDATA></DATA></TABLE>"
        table += '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if most < len(rows) else ""
    head = '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
    text = f'{head}<RESOURCE type="results">{status}{table}</RESOURCE></VOTABLE>'
    return text.replace("<TABLE>", "<TABEL>").encode() if fault == "no table" else text.encode()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the machine out of the way."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server(rng: np.random.Generator) -> Iterator[Server]:
    with Server(sky("vizier-2mass", rng)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


def client(**changes: Any) -> Client:
    return Client(**({"interval": 0.0, "timeout": 5.0, "retries": 3, "backoff": 1e-3} | changes))


def pages_of(server: Server, folder: Path, archive: str = "vizier-2mass", **changes: Any) -> Pages:
    bands = changes.pop("bands", list(ARCHIVES[archive].bands))
    rows = changes.pop("rows", 700)
    return Pages(ARCHIVES[archive], bands, folder, client(**changes), f"{server.address}/tap", rows)


BOXES = strips(*WINDOW)
BOXES_WHERE = f"WHERE 1 = CONTAINS(POINT('ICRS', RAJ2000, DEJ2000), {BOXES[0].polygon()})"


# --- geometry


@pytest.mark.parametrize(
    "box", [Box(358.5, 359.5, -0.5, 0.5), Box(10, 11, 20, 60), Box(200, 200.1, -85, -84.9), Box(359.9, 361, -30, 5)]
)
def test_a_polygon_holds_its_box_and_little_more(box, rng):
    polygon = box.polygon()
    edge = rng.uniform(0, 1, 400)
    l = np.concatenate([box.l_low + (box.l_high - box.l_low) * edge, np.repeat(box[:2], 200)])
    b = np.concatenate([np.repeat(box[2:], 200), box.b_low + (box.b_high - box.b_low) * edge])
    for shift, expected in ((0.0, True), (4 / 3600, False)):
        # away from the middle, by more than the margin of 2 arcsec and what the polygon's corners cost
        out_l = np.repeat([0, -1, 1], [400, 200, 200]) * shift / np.cos(np.radians(b))
        out_b = np.repeat([-1, 1, 0], [200, 200, 400]) * shift
        points = SkyCoord((l + out_l) * u.deg, (b + out_b) * u.deg, frame="galactic").icrs
        assert (inside(polygon, points.ra.deg, points.dec.deg) == expected).all()
    # counter-clockwise seen from inside, where right ascension grows to the left
    numbers = np.array(polygon[len("POLYGON('ICRS', ") : -1].split(","), float)
    corners = SkyCoord(numbers[::2] * u.deg, numbers[1::2] * u.deg).galactic
    x, y = -(corners.l.wrap_at(180 * u.deg) if box.l_high > 360 else corners.l).deg, corners.b.deg
    assert np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0


def test_halves_and_strips_share_no_point_and_leave_none_out(rng):
    assert [box[:2] for box in BOXES] == [(358.5, 359.5), (359.5, 360.5), (360.5, 361.0)]
    boxes = [half for box in BOXES for first in box.halves() for half in first.halves()]
    l = np.concatenate([rng.uniform(358.5, 361, 2000), np.arange(358.5, 361, 0.25), [358.5, 360.0]]) % 360
    b = np.concatenate([rng.uniform(-0.5, 0.5, 2000), np.zeros(10), [-0.5, 0.25]])
    np.testing.assert_array_equal(sum(box.holds(l, b).astype(int) for box in boxes), 1)


def test_a_box_is_cut_across_its_longer_side():
    assert Box(0, 1, 0, 2).halves() == (Box(0, 1, 0, 1), Box(0, 1, 1, 2))
    assert Box(0, 1, 0, 0.5).halves() == (Box(0, 0.5, 0, 0.5), Box(0.5, 1, 0, 0.5))
    assert Box(0, 1, 80, 80.5).halves() == (Box(0, 1, 80, 80.25), Box(0, 1, 80.25, 80.5))


# --- pages


@pytest.mark.parametrize("archive", sorted(ARCHIVES))
def test_every_star_of_the_window_comes_once(archive, server, rng, tmp_path):
    server.table = table = sky(archive, rng)
    entry, l, b = ARCHIVES[archive], table.attrs["l"], table.attrs["b"]
    pages = pages_of(server, tmp_path, archive)
    pages.fetch(BOXES)
    stars, files = pages.read(BOXES)
    truth = table[(l >= 358.5) & (l < 361) & (np.abs(b) < 0.5)].reset_index(drop=True)
    assert len(stars) == len(truth) > 2000
    position = SkyCoord(stars["l"].to_numpy() * u.deg, stars["b"].to_numpy() * u.deg, frame="galactic")
    there = SkyCoord(truth[entry.ra].to_numpy() * u.deg, truth[entry.dec].to_numpy() * u.deg)
    assert position.separation(there).arcsec.max() < 1e-3
    detected = truth[[error for _, error in entry.bands.values()]].notna().all(axis=1)
    np.testing.assert_array_equal(stars["detected"], detected)
    assert 0.9 < detected.mean() < 1
    for band, (magnitude, error) in entry.bands.items():
        np.testing.assert_allclose(stars[band], truth[magnitude])
        expected = 1.0857362 / truth[error] if archive == "gaia-dr3" else truth[error]
        np.testing.assert_allclose(stars[f"{band}_error"], expected, rtol=1e-6)
    assert set(stars) == {"l", "b", "detected", *entry.bands, *(f"{band}_error" for band in entry.bands), *entry.others}
    for ours, theirs in entry.others.items():
        np.testing.assert_allclose(stars[ours], truth[theirs])
    # no answer was larger than a page
    assert len(files) == len(server.asked("rows"))
    assert all(json.loads(path.with_suffix(".json").read_text())["rows"] <= 700 for path in files)
    assert len(server.asked("count")) > len(BOXES)
    assert {line["agent"] for line in server.log} == {f"galcarto/{__version__}"}


def test_a_page_s_note_says_what_was_asked_and_what_came(server, tmp_path):
    pages = pages_of(server, tmp_path)
    pages.fetch(BOXES)
    for path in pages.read(BOXES)[1]:
        note = json.loads(path.with_suffix(".json").read_text())
        assert note["query"] in server.asked("rows")
        assert note["url"] == f"{server.address}/tap"
        assert note["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert not list(tmp_path.glob("*.part"))


def test_a_service_that_flags_an_overflow_early_is_usable(server, tmp_path):
    server.early = True
    pages = pages_of(server, tmp_path)
    pages.fetch(BOXES)
    assert len(pages.read(BOXES)[0]) > 2000


def test_a_sky_without_stars_is_a_sky(server, tmp_path):
    server.table = server.table[:0]
    pages = pages_of(server, tmp_path)
    pages.fetch(BOXES)
    stars, files = pages.read(BOXES)
    assert stars.empty
    assert files == []
    assert (len(server.asked("count")), server.asked("rows")) == (3, [])
    server.log.clear()
    pages.fetch(BOXES)
    assert server.log == []


def test_stars_closer_than_any_page_are_refused(server, tmp_path):
    server.table = pd.concat([server.table[:1]] * 20)
    where = server.table.attrs["l"][0], server.table.attrs["b"][0]
    box = Box(where[0] - 0.01, where[0] + 0.01, where[1] - 0.01, where[1] + 0.01)
    with pytest.raises(ArchiveError, match=r"found 20 stars in l.*, smaller than 0\.001 deg; .* raise page"):
        pages_of(server, tmp_path, rows=5).fetch([box])


def test_a_band_that_the_archive_lacks_is_named(server, tmp_path):
    with pytest.raises(ArchiveError, match=r"fp_psc: found the bands J, H, Ks; expected also G"):
        pages_of(server, tmp_path, "irsa-2mass", bands=["G", "J"])


# --- faults that pass

PASSING = ["202", "429", "500", "503", "wait 0", "silence", "cut", "cut without length"]
PASSING_WORDS = ["gzip cut", "says 503 Too many jobs, try again", "says 400 Service temporarily unavailable"]


@pytest.mark.parametrize("fault", PASSING + PASSING_WORDS)
@pytest.mark.parametrize("at", [0, 1])
def test_a_fault_that_passes_costs_one_more_request(fault, at, server, tmp_path, caplog):
    pages_of(server, tmp_path / "good").fetch(BOXES)
    usual = len(server.log)
    server.log.clear()
    server.script = [""] * at + [fault]
    pages = pages_of(server, tmp_path / "bad", timeout=0.4)
    pages.fetch(BOXES)
    assert len(server.log) == usual + 1
    assert server.log[at]["query"] == server.log[at + 1]["query"]
    assert "trying again" in caplog.text
    pd.testing.assert_frame_equal(pages.read(BOXES)[0], pages_of(server, tmp_path / "good").read(BOXES)[0])


@pytest.mark.parametrize(
    "answer",
    ["gzip", "comment", "as text/plain", "as application/octet-stream", "as text/xml; charset=utf-8", "as "]
    + [f"moved {status} /elsewhere" for status in (301, 302, 307, 308)],
)
def test_a_good_answer_in_another_form_is_taken(answer, server, tmp_path, caplog):
    server.script = [answer, ""] * 20 if answer.startswith("moved") else [answer] * 40
    pages = pages_of(server, tmp_path / "other")
    pages.fetch(BOXES)
    server.script = []
    pages_of(server, tmp_path / "good").fetch(BOXES)
    pd.testing.assert_frame_equal(pages.read(BOXES)[0], pages_of(server, tmp_path / "good").read(BOXES)[0])
    assert "trying again" not in caplog.text
    assert ("the address has moved to http://127.0.0.1" in caplog.text) == answer.startswith("moved")


def test_an_answer_elsewhere_is_got(server):
    """Status 303: the result lies at another address, which is asked without the form."""
    server.script = ["moved 303 /map.fits"]
    form = {"REQUEST": "doQuery", "LANG": "ADQL", "MAXREC": "2", "QUERY": f"SELECT COUNT(*) {BOXES_WHERE}"}
    with client().request("POST", f"{server.address}/tap", data=form) as response:
        assert response.content == MAP


def test_redirects_without_end_name_the_new_address(server, tmp_path):
    server.script = ["moved 301 /new"] * 20
    with pytest.raises(DownloadError, match=r"tap: the address has moved to http://.*/new, .*: set url to it"):
        pages_of(server, tmp_path).fetch(BOXES)
    assert len(server.log) == download.HOPS


def test_faults_that_stay_end_in_one_message(server, tmp_path):
    server.script = ["500", "cut", "202", "503", "503"]
    with pytest.raises(
        DownloadError,
        match=r"tap: status 503 .*, which says 'Down for maintenance', at the last of 4 tries; .*is complete is kept$",
    ):
        pages_of(server, tmp_path).fetch(BOXES)
    assert len(server.log) == 4


def test_waits_grow_and_vary_by_the_seed_alone(server, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    runs = []
    for seed in (1, 1, 2):
        server.script = ["500"] * 4
        with pytest.raises(DownloadError):
            pages_of(server, tmp_path, backoff=1.0, seed=seed).fetch(BOXES)
        runs.append([pause for pause in slept if pause > 0])
        slept.clear()
    assert runs[0] == runs[1] != runs[2]
    for run in runs:
        np.testing.assert_array_less(np.abs(np.array(run) / [1, 2, 4] - 1), 0.5)


def test_the_server_says_how_long_to_wait(server, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server.script = ["wait 7", f"wait {soon}", "wait tomorrow", ""]
    pages_of(server, tmp_path).fetch(BOXES)
    waits = [pause for pause in slept if pause > 0]
    assert waits[0] == 7
    assert 50 < waits[1] <= 60
    assert waits[2] < 1
    server.script = ["wait 3600"]
    with pytest.raises(DownloadError, match=r"asks to wait 3600 s; run the same command after that"):
        pages_of(server, tmp_path / "later").fetch(BOXES)


def test_requests_keep_their_distance(server, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    pages_of(server, tmp_path, interval=1000.0).fetch(BOXES)
    assert slept[0] == 0
    assert all(900 < pause <= 1000 for pause in slept[1:])
    assert len(slept) == len(server.log) > 3


# --- faults that stay


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("403", r"found status 403 Forbidden, which says 'Down for maintenance'; expected 200; the server refuses"),
        ("404", r"found status 404 Not Found"),
        ("html", r"found text/html that says 'Down for maintenance'; expected a VOTable; open the address"),
        ("html as xml", r"found application/xml that says 'Down for maintenance'; expected a VOTable"),
        ("error", r"found the error 'Unknown column \"Jmag\"'; expected a table"),
        ("400", r"found text/html that says 'Down"),
        ("overflow", r"found the overflow flag: .*lower page in sky\.archives"),
        ("fewer", r"found \d+ rows in l359.*; expected \d+, which it counted before"),
        ("twice", r"found 0\d+\+0000000 more than once in l359"),
        ("other column", r"found the columns star, other, delta.*; expected also alpha"),
        ("400 without a reason", r"found status 400 without a reason; expected 200"),
        *(
            (f"says {status} {reason}", rf"found the error '{reason}'; expected a table; lower page in sky\.archives")
            for status, reason in (
                (500, "Job execution exceeded the time limit of 60 s"),
                (503, "Query timed out"),
                (400, "Canceled on statement timeout"),
                (200, "Execution duration exceeded"),
            )
        ),
        ("says 500 Unknown column Jmag", r"found the error 'Unknown column Jmag'; expected a table$"),
        ("no table", r"found a VOTable without a table that can be read"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_and_not_kept(fault, message, server, tmp_path):
    boxes = [Box(359.5, 359.8, -0.2, 0.2)]
    server.script = ["", fault]
    with pytest.raises((ArchiveError, DownloadError), match=message):
        pages_of(server, tmp_path).fetch(boxes)
    assert len(server.log) == 2  # asking again would not help
    assert list(tmp_path.iterdir()) == []
    pages = pages_of(server, tmp_path)
    pages.fetch(boxes)
    assert len(pages.read(boxes)[0]) > 50


@pytest.mark.parametrize("fault", ["other column", "fewer"])
def test_a_count_that_is_none_is_refused(fault, server, tmp_path):
    server.script = [fault]
    with pytest.raises(ArchiveError, match=r"found [01] rows of \w+; expected one number of stars"):
        pages_of(server, tmp_path).fetch(BOXES)


def test_a_dead_address_is_a_message(tmp_path, server):
    pages = Pages(ARCHIVES["gaia-dr3"], ["G"], tmp_path, client(retries=1), "http://127.0.0.1:9/tap")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/tap: ConnectionError .* at the last of 2 tries"):
        pages.fetch(BOXES)
    pages = Pages(ARCHIVES["gaia-dr3"], ["G"], tmp_path, client(), "no address")
    with pytest.raises(DownloadError, match=r"no address: .*; expected an address that can be asked"):
        pages.fetch(BOXES)


def test_a_star_on_two_pages_is_refused(server, tmp_path):
    l, b = server.table.attrs["l"], server.table.attrs["b"]
    names = server.table.columns.get_loc('"2MASS"')
    first, second = (np.argmax((l > low) & (l < 361) & (np.abs(b) < 0.5)) for low in (358.5, 360.6))
    server.table.iloc[second, names] = server.table.iloc[first, names]
    pages = pages_of(server, tmp_path)
    pages.fetch(BOXES)
    with pytest.raises(ArchiveError, match=r"found 0\d+\+0000000 on two pages; expected each star on one"):
        pages.read(BOXES)


# --- resume


@pytest.mark.parametrize("answers", [1, 4, 5, 9])
def test_a_run_that_was_cut_goes_on_where_it_ended(answers, server, tmp_path):
    whole = pages_of(server, tmp_path / "whole")
    whole.fetch(BOXES)
    usual = [entry["query"] for entry in server.log]
    server.log.clear()
    server.script = [""] * answers + ["403"]
    with pytest.raises(DownloadError):
        pages_of(server, tmp_path / "cut").fetch(BOXES)
    first = [entry["query"] for entry in server.log][:-1]
    server.log.clear()
    pages = pages_of(server, tmp_path / "cut")
    pages.fetch(BOXES)
    second = [entry["query"] for entry in server.log]
    # a page is asked for twice, for its number and for its stars: the cut may fall between the two
    again = set(first) & set(second)
    assert len(again) <= 1
    assert all("COUNT" in query for query in again)
    assert set(first) | set(second) == set(usual)
    assert len(first) + len(second) == len(usual) + len(again)
    pd.testing.assert_frame_equal(pages.read(BOXES)[0], whole.read(BOXES)[0])


def test_a_damaged_page_is_fetched_again_alone_and_says_so(server, tmp_path, caplog):
    pages = pages_of(server, tmp_path)
    pages.fetch(BOXES)
    stars, files = pages.read(BOXES)
    good = files[1].read_bytes()
    files[1].write_bytes(good.replace(b"<TD>1", b"<TD>2", 1))
    with pytest.raises(MissingPagesError, match=rf"1 are missing or damaged \({re.escape(files[1].stem)}\)"):
        pages.read(BOXES)
    server.log.clear()
    caplog.clear()
    pages.fetch(BOXES)
    assert [entry["kind"] for entry in server.log] == ["count", "rows"]
    assert "expected" in caplog.text
    assert files[1].name in caplog.text
    assert files[1].read_bytes() == good
    pd.testing.assert_frame_equal(pages.read(BOXES)[0], stars)


@pytest.mark.parametrize("lost", [".vot", ".json"])
def test_half_a_page_is_no_page(lost, server, tmp_path):
    pages = pages_of(server, tmp_path)
    pages.fetch(BOXES)
    pages.read(BOXES)[1][0].with_suffix(lost).unlink()
    server.log.clear()
    pages.fetch(BOXES)
    assert [entry["kind"] for entry in server.log] == ["count", "rows"]


def test_pages_of_another_question_are_not_used(server, tmp_path):
    pages_of(server, tmp_path, bands=["J"]).fetch(BOXES)
    server.log.clear()
    pages = pages_of(server, tmp_path, bands=["J", "Ks"])
    pages.fetch(BOXES)
    assert len(server.asked("rows")) == len(pages.read(BOXES)[1])
    server.log.clear()
    pages_of(server, tmp_path, bands=["J", "Ks"], rows=100).fetch(BOXES)  # pages that are there stay
    assert server.log == []


# --- the stage


def settings_of(config: dict[str, Any], server: Server, **changes: Any) -> str:
    entry = {"survey": "2mass", "archive": "vizier-2mass", "url": f"{server.address}/tap", "page": 700}
    entry |= {"interval": "0 s", "retries": 0} | changes
    config["sky"] |= {"source": "archive", "l": ["358.5 deg", "361 deg"], "b": ["-0.5 deg", "0.5 deg"]}
    config["sightlines"] = {"train": [{"l": "359 deg", "b": "0 deg"}], "test": [{"l": "0 deg", "b": "0 deg"}]}
    config["sky"]["archives"] = [entry]
    return read_settings(config).for_stage("observe_archive")


def observe(settings: str, folder: Path, *options: str) -> int:
    words = ["observe_archive", "--settings", settings, "--seed", "1", "--pages", str(folder / "archive"), *options]
    return main([*words, "--stars", str(folder / "stars.parquet"), "--footprint", str(folder / "footprint.nc")])


def test_the_stage_writes_stars_and_the_whole_window(config, server, tmp_path):
    l, b = server.table.attrs["l"], server.table.attrs["b"]
    server.table = server.table[~((l > 359) & (l < 359.5) & (b > 0))]  # a thick cloud: dark, not unobserved
    assert observe(settings_of(config, server), tmp_path) == 0
    stars = pd.read_parquet(tmp_path / "stars.parquet")
    assert list(stars) == ["l", "b", "J", "J_error", "Ks", "Ks_error", "survey"]
    assert stars.notna().all(axis=None)
    assert set(stars["survey"]) == {"2mass"}
    tiles = read_settings(config).sky.grid(0.5)
    with xr.open_dataset(tmp_path / "footprint.nc") as footprint:
        assert list(footprint["survey"]) == ["2mass"]
        np.testing.assert_allclose(footprint["area"], tiles.area()[None])
        rows = json.loads(footprint.attrs["rows"])["2mass"]
        assert rows["kept"] == len(stars)
        assert rows["read"] == len(stars) + sum(rows["dropped"].values())
        assert rows["dropped"]["no error, so an upper limit"] > 0
        inputs = json.loads(footprint.attrs["galcarto_inputs_sha256"])
        assert str(tmp_path) not in str(footprint.attrs)
    pages = sorted((tmp_path / "archive/vizier-2mass").glob("*.vot"))
    assert inputs == {f"vizier-2mass/{path.name}": sha256(path.read_bytes()).hexdigest() for path in pages}


def test_offline_with_every_page_asks_no_server(config, server, tmp_path):
    settings = settings_of(config, server)
    assert observe(settings, tmp_path) == 0
    before = [(tmp_path / name).read_bytes() for name in ("stars.parquet", "footprint.nc")]
    server.log.clear()
    assert observe(settings, tmp_path, "--offline") == 0
    assert server.log == []
    assert [(tmp_path / name).read_bytes() for name in ("stars.parquet", "footprint.nc")] == before


def test_offline_without_a_page_names_it_and_the_command(config, server, tmp_path, capsys):
    settings = settings_of(config, server)
    assert observe(settings, tmp_path) == 0
    lost = sorted((tmp_path / "archive/vizier-2mass").glob("*.vot"))[2]
    lost.unlink()
    server.log.clear()
    capsys.readouterr()
    assert observe(settings, tmp_path, "--offline") == 1
    assert server.log == []
    said = capsys.readouterr().err
    assert f"1 are missing or damaged ({lost.stem})" in said
    assert f"set sky.offline: false and run: snakemake --cores 1 {tmp_path / 'stars.parquet'}" in said


def test_an_archive_of_another_survey_is_refused(config, server, tmp_path, capsys):
    assert observe(settings_of(config, server, archive="gaia-dr3"), tmp_path) == 1
    assert "sky.archives: found gaia-dr3, which holds gaia; expected one of 2mass" in capsys.readouterr().err
    assert server.log == []


def test_offline_changes_nothing_that_rules_depend_on(config):
    online = read_settings(config)
    config["sky"]["offline"] = True
    offline = read_settings(config)
    assert offline.sky.offline
    assert online.section_json("sky") == offline.section_json("sky")


# --- single files


def test_a_file_is_fetched_once(server, tmp_path):
    path = tmp_path / "new" / "map.fits"
    digest = fetch(f"{server.address}/map.fits", path, client())
    assert path.read_bytes() == MAP
    assert digest == sha256(MAP).hexdigest()
    assert (tmp_path / "new/map.fits.sha256").read_text() == f"{digest}  map.fits\n"
    assert {found.name for found in path.parent.iterdir()} == {"map.fits", "map.fits.sha256"}
    assert fetch(f"{server.address}/map.fits", path, client()) == digest
    assert fetch(f"{server.address}/map.fits", path, client(), digest, offline=True) == digest
    assert len(server.log) == 1


@pytest.mark.parametrize("fault", [fault for fault in PASSING if fault != "cut without length"])
def test_a_file_that_was_cut_goes_on_where_it_ended(fault, server, tmp_path):
    server.script = [fault]
    fetch(f"{server.address}/map.fits", tmp_path / "map.fits", client(timeout=0.4))
    assert (tmp_path / "map.fits").read_bytes() == MAP
    written = len(MAP) // 2 // download.BLOCK * download.BLOCK
    assert [entry["query"] for entry in server.log] == ["", f"bytes={written}-" if fault == "cut" else ""]


@pytest.mark.parametrize(
    ("pinned", "message"), [(True, r"found sha256 .*, expected"), (False, r"found neither a length nor an end mark")]
)
def test_a_file_whose_end_nobody_announces_is_not_trusted(pinned, message, server, tmp_path):
    server.script = ["cut without length"]
    with pytest.raises(DownloadError, match=message):
        fetch(
            f"{server.address}/map.fits", tmp_path / "map.fits", client(), sha256(MAP).hexdigest() if pinned else None
        )
    assert not (tmp_path / "map.fits").exists()


@pytest.mark.parametrize(
    ("etag", "pinned", "span"),
    [
        ('"1"', False, "bytes=100-"),
        ("", True, "bytes=100-"),  # the digest would tell
        ("", False, ""),  # nothing would tell that the file is another one by now
    ],
)
def test_a_second_call_goes_on_with_half_a_file(etag, pinned, span, server, tmp_path):
    server.etag = etag
    (tmp_path / "map.fits.part").write_bytes(MAP[:100])
    (tmp_path / "map.fits.part.validator").write_text(etag)
    fetch(f"{server.address}/map.fits", tmp_path / "map.fits", client(), sha256(MAP).hexdigest() if pinned else None)
    assert [entry["query"] for entry in server.log] == [span]
    assert (tmp_path / "map.fits").read_bytes() == MAP


def test_halves_of_two_files_are_not_joined(server, tmp_path):
    (tmp_path / "map.fits.part").write_bytes(b"of another file")
    (tmp_path / "map.fits.part.validator").write_text('"0"')
    fetch(f"{server.address}/map.fits", tmp_path / "map.fits", client())
    assert (tmp_path / "map.fits").read_bytes() == MAP


@pytest.mark.parametrize(("extra", "requests"), [(b"", 1), (b"too long", 2)])
def test_a_part_that_is_complete_or_too_long(extra, requests, server, tmp_path):
    (tmp_path / "map.fits.part").write_bytes(MAP + extra)
    (tmp_path / "map.fits.part.validator").write_text('"1"')
    fetch(f"{server.address}/map.fits", tmp_path / "map.fits", client())
    assert (tmp_path / "map.fits").read_bytes() == MAP
    assert len(server.log) == requests


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server, tmp_path):
    path = tmp_path / "map.fits"
    with pytest.raises(DownloadError, match=rf"found sha256 {sha256(MAP).hexdigest()}, expected {'0' * 64} \(the sett"):
        fetch(f"{server.address}/map.fits", path, client(), "0" * 64)
    assert not path.exists()
    assert not (tmp_path / "map.fits.part").exists()
    assert not (tmp_path / "map.fits.sha256").exists()


def test_the_first_download_is_trusted_and_then_holds(server, tmp_path, caplog):
    path = tmp_path / "map.fits"
    fetch(f"{server.address}/map.fits", path, client())
    path.write_bytes(MAP[:-1])
    with pytest.raises(DownloadError, match=r"not with the expected sha256, and sky\.offline is set"):
        fetch(f"{server.address}/map.fits", path, client(), offline=True)
    fetch(f"{server.address}/map.fits", path, client())
    assert "fetching it again" in caplog.text
    assert path.read_bytes() == MAP
    path.unlink()
    server.file = MAP[::-1]
    with pytest.raises(DownloadError, match=r"expected .*map\.fits\.sha256\)"):
        fetch(f"{server.address}/map.fits", path, client())
    # the digest in the settings goes before that of the first download
    fetch(f"{server.address}/map.fits", path, client(), sha256(MAP[::-1]).hexdigest())
    assert path.read_bytes() == MAP[::-1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [("html", r"found a web page that says 'Down for maintenance'; expected a file"), ("403", "found status 403")],
)
def test_a_page_is_no_map(fault, message, server, tmp_path):
    server.script = [fault]
    with pytest.raises(DownloadError, match=message):
        fetch(f"{server.address}/map.fits", tmp_path / "map.fits", client())
    assert len(server.log) == 1
    assert not (tmp_path / "map.fits").exists()


def test_the_first_line_of_a_page_is_what_a_reader_sees():
    assert first_line(PAGE) == "Down for maintenance"
    assert first_line("\n  Too   many\njobs") == "Too many"
    assert first_line("<html></html>") == "nothing"


# --- the workflow


def region(project: Path, server: Server) -> None:
    """Turn the tiny region into one of an archive's stars and a fetched map."""
    path = project / "config/tiny.yaml"
    config = yaml.safe_load(path.read_text())
    entry = {"survey": "2mass", "archive": "vizier-2mass", "url": f"{server.address}/tap", "interval": "0 s"}
    config["sky"] |= {"source": "archive", "archives": [entry], "l": ["359 deg", "360 deg"], "b": ["-0.5 deg", "0 deg"]}
    config["sightlines"] = {
        "train": [{"l": "359.3 deg", "b": "-0.3 deg"}],
        "test": [{"l": "359.7 deg", "b": "-0.2 deg"}],
    }
    config["compare"]["planck"][0] |= {"url": f"{server.address}/map.fits", "sha256": sha256(MAP).hexdigest()}
    del config["compare"]["planck"][0]["path"]
    path.write_text(yaml.safe_dump(config))


def test_an_archive_s_region_fetches_and_runs_no_synthetic_sky(server, tmp_path):
    project = copy_project(tmp_path / "project")
    region(project, server)
    ran = snakemake(project, "-n", "-p")
    assert ran.returncode == 0, ran.stdout
    jobs = planned(ran.stdout)
    assert jobs["observe_sky"] == jobs["fetch_planck"] == jobs["compare_planck"] == 1
    assert "compare_truth" not in jobs
    assert "galcarto observe_archive" in ran.stdout
    assert "--offline" not in ran.stdout
    assert server.log == []
    config = yaml.safe_load((project / "config/tiny.yaml").read_text())
    config["sky"]["offline"] = True
    (project / "config/tiny.yaml").write_text(yaml.safe_dump(config))
    assert snakemake(project, "-n", "-p").stdout.count(" --offline ") == 2


def test_the_rules_fetch_once_and_keep_what_they_fetched(server, tmp_path):
    project = copy_project(tmp_path / "project")
    region(project, server)
    targets = "results/tiny/sky/stars.parquet", "results/tiny/planck/synthetic.fits"
    ran = snakemake(project, *targets)
    assert ran.returncode == 0, ran.stdout
    assert (project / targets[1]).read_bytes() == MAP
    assert len(pd.read_parquet(project / targets[0])) > 100
    assert len(server.log) > 2
    server.log.clear()
    ran = snakemake(project, *targets, "--forcerun", "observe_sky", "fetch_planck")
    assert ran.returncode == 0, ran.stdout
    assert planned(ran.stdout) == {"observe_sky": 1, "fetch_planck": 1}
    assert server.log == []
