"""Servers, asked politely and patiently; files from them, fetched once and checked."""

import logging
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import requests
from tqdm import tqdm

from galcarto import __version__
from galcarto.core.errors import UserError
from galcarto.core.provenance import file_sha256

LONGEST_WAIT = 600.0  # s; a server that asks for more is left alone
BLOCK = 1 << 16  # bytes
# a page in a queue, a server that is busy or broken: worth another try, as any 5xx
PASSING_STATUS = (202, 408, 425, 429)
PASSING_FAULTS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
T = TypeVar("T")


class DownloadError(UserError):
    """An answer that cannot be used, or none after every try."""


class PassingError(Exception):
    """A fault that may be gone at the next try.

    Attributes
    ----------
    wait : float, s
        What the server asks to wait at least.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def first_line(text: str) -> str:
    """The first line of an answer that says anything, tags removed, for a message."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    words = re.sub(r"<[^>]*>", "\n", text).strip()
    return " ".join((words.splitlines() or ["nothing"])[0].split())[:200]


def _asked_wait(response: requests.Response) -> float:
    """Seconds in the header Retry-After, which is a number or a date; 0 without one."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):  # no date, or one without a time zone
        return 0.0


class Client:
    """Requests with a pause between them, and again after a fault that may pass.

    Parameters
    ----------
    interval : float, s
        Least time between the starts of two requests.
    timeout : float, s
        Silence after which a connection counts as dead.
    retries : int
        Further tries after the first.
    backoff : float, s
        Wait before the first of them; it doubles each time, give or take a half.
    seed : int
        Of that half.
    """

    def __init__(
        self, interval: float = 1.0, timeout: float = 300.0, retries: int = 5, backoff: float = 2.0, seed: int = 0
    ) -> None:
        self.interval, self.timeout, self.retries, self.backoff = interval, timeout, retries, backoff
        self._rng = np.random.default_rng(seed)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"galcarto/{__version__}"
        self._next = 0.0

    def request(self, method: str, url: str, accepted: Iterable[int] = (200,), **options: object) -> requests.Response:
        """Send one request and check its status; the body has yet to be read.

        Parameters
        ----------
        method, url : str
        accepted : iterable of int
            Status codes that the caller can use.
        **options
            Of `requests.Session.request`.

        Raises
        ------
        PassingError
            If the status may be another at the next try.
        DownloadError
            If it will not.
        """
        time.sleep(max(self._next - time.monotonic(), 0.0))
        self._next = time.monotonic() + self.interval
        response = self._session.request(method, url, stream=True, timeout=self.timeout, **options)  # type: ignore[arg-type]
        status = response.status_code
        if status in accepted:
            return response
        found = f"status {status} {response.reason}"
        if status in PASSING_STATUS or status >= 500:
            wait = _asked_wait(response)
            response.close()
            raise PassingError(found, wait)
        said = first_line(response.text)
        hint = "the server refuses; look at the address in a browser, or wait a day" if status == 403 else "check it"
        raise DownloadError(f"{url}: found {found}, which says '{said}'; expected 200; {hint}")

    def patiently(self, url: str, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, which asks `url`, tried again after faults that may pass.

        Raises
        ------
        DownloadError
            If every try fails, or the server asks for a longer wait than ten minutes.
        """
        wait = self.backoff
        for left in range(self.retries, -1, -1):
            asked = 0.0
            try:
                return attempt()
            except PassingError as error:
                fault, asked = str(error), error.wait
            except PASSING_FAULTS as error:
                # their texts hold addresses of objects; the class tells a time-out from a cut
                fault = f"{type(error).__name__} ({str(error)[:200]})"
            except requests.RequestException as error:
                raise DownloadError(f"{url}: {error}; expected an address that can be asked") from None
            if asked > LONGEST_WAIT:
                raise DownloadError(
                    f"{url}: {fault}, and the server asks to wait {asked:.0f} s; run the same command after that: "
                    "what is complete is kept"
                )
            if left:
                pause = max(asked, wait * self._rng.uniform(0.5, 1.5))
                logging.warning("%s: %s; trying again in %.1f s (%d more)", url, fault, pause, left)
                time.sleep(pause)
                wait *= 2
        raise DownloadError(
            f"{url}: {fault}, at the last of {self.retries + 1} tries; expected an answer; run the same command "
            "later: what is complete is kept"
        )


def fetch(url: str, path: str | Path, client: Client, sha256: str | None = None, offline: bool = False) -> str:
    """Fetch a file once; a file that is there and has the right sha256 is left alone.

    Without a `sha256` the first download is trusted: its digest is written to ``PATH.sha256`` and holds from
    then on. A download that was cut stays in ``PATH.part`` and goes on from there, where the server can tell
    that the file is still the same.

    Parameters
    ----------
    url : str
    path : path
        File to write.
    client : Client
    sha256 : str or None
        Digest that the file must have, in hexadecimal.
    offline : bool
        Refuse instead of asking the server.

    Returns
    -------
    str
        The file's sha256.

    Raises
    ------
    DownloadError
        If the file cannot be had, or is another than expected.
    """
    path = Path(path)
    note = path.with_name(f"{path.name}.sha256")
    expected = sha256
    if expected is None and note.is_file():
        expected = note.read_text().split()[0]
    if path.is_file():
        found = file_sha256(path)
        if expected in (None, found):
            note.write_text(f"{found}  {path.name}\n")
            logging.info("%s: there already, sha256 %s", path, found)
            return found
        logging.warning("%s: found sha256 %s, expected %s; fetching it again", path, found, expected)
    if offline:
        raise DownloadError(
            f"{path}: not there, or not with the expected sha256, and sky.offline is set; "
            f"set sky.offline: false, or put the file of {url} there"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    client.patiently(url, lambda: _go_on(url, part, client, pinned=expected is not None))
    found = file_sha256(part)
    if expected not in (None, found):
        part.unlink()
        source = "the settings" if sha256 else note
        raise DownloadError(
            f"{url}: found sha256 {found}, expected {expected} ({source}); the archive has another file now, or the "
            "download is damaged: run again, and if it stays so, check the new file and state its sha256"
        )
    part.replace(path)
    _validator_file(part).unlink(missing_ok=True)
    note.write_text(f"{found}  {path.name}\n")
    logging.info("%s: fetched, sha256 %s", path, found)
    return found


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _go_on(url: str, part: Path, client: Client, pinned: bool) -> None:
    """Complete a partial file, from where it ends if that is safe."""
    validator_file = _validator_file(part)
    validator = validator_file.read_text() if validator_file.is_file() else ""
    done = part.stat().st_size if part.is_file() else 0
    # without a validator two halves of two files could be joined: only a known digest would show it
    if not (validator or pinned):
        done = 0
    headers = {"Accept-Encoding": "identity"}  # a range counts the file's own bytes
    if done:
        headers["Range"] = f"bytes={done}-"
        if validator:
            headers["If-Range"] = validator
    with client.request("GET", url, accepted=(200, 206, 416), headers=headers) as response:
        kind = response.headers.get("Content-Type", "")
        if "html" in kind:
            raise DownloadError(
                f"{url}: found a web page that says '{first_line(response.text)}'; expected a file; "
                "open the address in a browser and correct it"
            )
        spans = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if response.status_code == 416:
            if spans and spans[2] == str(done):
                return  # cut between the last byte and the end of the job
            part.unlink(missing_ok=True)
            raise PassingError("the server has no such range; starting over")
        if response.status_code == 206:
            if spans is None or spans[1] != str(done):
                part.unlink(missing_ok=True)
                raise PassingError("the server sent another range; starting over")
        else:
            done = 0
        etag = response.headers.get("ETag", "")
        # a weak tag promises the same meaning, not the same bytes
        if not etag or etag.startswith("W/"):
            etag = response.headers.get("Last-Modified", "")
        validator_file.write_text(etag)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        if total is None and not pinned and response.headers.get("Transfer-Encoding", "") != "chunked":
            raise DownloadError(
                f"{url}: found neither a length nor an end mark: a file cut on its way would look whole; expected one "
                "of them, or the file's sha256 in the settings"
            )
        with (
            open(part, "ab" if done else "wb") as handle,
            tqdm(desc=part.stem, initial=done, total=total, unit="B", unit_scale=True, mininterval=5) as bar,
        ):
            for block in response.iter_content(BLOCK):
                handle.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size != total:
        raise PassingError(f"found {part.stat().st_size} bytes; expected {total}")
