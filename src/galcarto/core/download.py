"""HTTP client with rate limit, retries and checksums.

The retries are not left to urllib3's Retry, which ends where the body begins: a body that is cut is asked for again
too, here from where it ended. pooch does not resume a download.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin

import numpy as np
import requests
from tqdm import tqdm
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from galcarto import __version__
from galcarto.core.errors import UserError, first_line
from galcarto.core.provenance import file_sha256

LONGEST_WAIT = 600.0  # s; give up if a server asks for more
BLOCK = 1 << 16  # bytes
HOPS = 5  # redirects in a row
# accepted but not ready, time-out, too early, too many requests: worth another try, as is any 5xx
TRANSIENT_STATUS = (202, 408, 425, 429)
TRANSIENT_FAULTS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
T = TypeVar("T")


class DownloadError(UserError):
    """No usable response, after every retry."""


class TransientError(Exception):
    """A fault that may be gone at the next try.

    Attributes
    ----------
    wait : float, s
        Least wait that the server asks for.
    body : bytes
        What the server says.
    """

    def __init__(self, message: str, wait: float = 0.0, body: bytes = b"") -> None:
        super().__init__(message)
        self.wait, self.body = wait, body


def _asked_wait(response: requests.Response) -> float:
    """Seconds in the header Retry-After, a number or a date; 0 without a valid one."""
    try:
        return float(Retry().get_retry_after(response.raw) or 0.0)
    except InvalidHeader:
        return 0.0


class Client:
    """HTTP client that limits its rate and retries after transient faults.

    Parameters
    ----------
    interval : float, s
        Least time between the starts of two requests.
    timeout : float, s
        Silence after which a connection counts as dead.
    retries : int
        Tries after the first one.
    backoff : float, s
        Wait before the first retry. It doubles each time and has a random factor between 0.5 and 1.5.
    seed : int
        Seed of that factor.
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
        """Send one request and check its status, without reading the body.

        Parameters
        ----------
        method, url : str
        accepted : iterable of int
            Status codes that the caller can handle.
        **options
            Options of `requests.Session.request`.

        Raises
        ------
        TransientError
            If the request failed but may succeed at the next try.
        DownloadError
            If the server refuses the request.
        """
        time.sleep(max(self._next - time.monotonic(), 0.0))
        self._next = time.monotonic() + self.interval
        response = self._send(method, url, **options)
        status = response.status_code
        if status in accepted:
            return response
        found = f"status {status} {response.reason}"
        if status in TRANSIENT_STATUS or status >= 500:
            wait, body = _asked_wait(response), b""
            with response, suppress(requests.RequestException):
                body = response.content
            said = f", which says '{first_line(body.decode(errors='replace'))}'" if body else ""
            raise TransientError(found + said, wait, body)
        said = first_line(response.text)
        hint = "the server refuses; look at the address in a browser, or wait a day" if status == 403 else "check it"
        raise DownloadError(f"{url}: found {found}, which says '{said}'; expected 200; {hint}")

    def _send(self, method: str, url: str, **options: object) -> requests.Response:
        """Send a request and follow redirects; requests itself would turn a POST into a GET, without its form."""
        target = url
        for _ in range(HOPS):
            response = self._session.request(
                method,
                target,
                stream=True,
                timeout=self.timeout,
                allow_redirects=method == "GET",
                **options,  # type: ignore[arg-type]
            )
            if not response.is_redirect:
                return response
            response.close()
            target = urljoin(target, response.headers["Location"])
            if response.status_code == 303:  # the answer is elsewhere
                return self._session.get(target, stream=True, timeout=self.timeout)
            logging.warning("%s: the address has moved to %s: set url to it", url, target)
        raise DownloadError(
            f"{url}: the address has moved to {target}, {HOPS} times; expected an answer: set url to it"
        )

    def retry(self, url: str, attempt: Callable[[], T]) -> T:
        """Call `attempt`, which requests `url`, until it succeeds or fails for good.

        Raises
        ------
        DownloadError
            If every try fails, or the server asks for a wait of more than `LONGEST_WAIT`.
        """
        wait = self.backoff
        for left in range(self.retries, -1, -1):
            asked = 0.0
            try:
                return attempt()
            except TransientError as error:
                fault, asked = str(error), error.wait
            except TRANSIENT_FAULTS as error:
                # the class distinguishes a time-out from a cut; the text may hold addresses of objects
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
    """Download a file unless it already exists with the right sha256.

    Without `sha256` the first download is trusted: its digest is written to ``PATH.sha256`` and later downloads must
    match it. An interrupted download stays in ``PATH.part`` and is resumed if the server confirms that the file has
    not changed.

    Parameters
    ----------
    url : str
    path : path
        File to write.
    client : Client
    sha256 : str or None
        Expected digest in hexadecimal.
    offline : bool
        Fail instead of asking the server.

    Returns
    -------
    str
        The file's sha256.

    Raises
    ------
    DownloadError
        If the file cannot be fetched or has another digest.
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
    client.retry(url, lambda: _resume(url, part, client, pinned=expected is not None))
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


def _resume(url: str, part: Path, client: Client, pinned: bool) -> None:
    """Complete a partial file, from where it ends if the rest surely belongs to it."""
    validator_file = _validator_file(part)
    validator = validator_file.read_text() if validator_file.is_file() else ""
    done = part.stat().st_size if part.is_file() else 0
    # without a validator, halves of two files could be joined; only a known digest would reveal it
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
        status = response.status_code
        span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if status == 416 and span and span[2] == str(done):
            return  # the last run ended after the last byte
        if status == 416 or (status == 206 and (span is None or span[1] != str(done))):
            part.unlink(missing_ok=True)
            raise TransientError("the server did not send the range that was asked for; starting over")
        if status == 200:
            done = 0
        etag = response.headers.get("ETag", "")
        # a weak tag does not promise the same bytes
        if not etag or etag.startswith("W/"):
            etag = response.headers.get("Last-Modified", "")
        validator_file.write_text(etag)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None  # requests raises an error if the body is shorter
        if total is None and not pinned and response.headers.get("Transfer-Encoding", "") != "chunked":
            raise DownloadError(
                f"{url}: found neither a length nor an end mark, so that a cut file would look whole; expected one of "
                "them, or the file's sha256 in the settings"
            )
        with (
            open(part, "ab" if done else "wb") as handle,
            tqdm(desc=part.stem, initial=done, total=total, unit="B", unit_scale=True, mininterval=5) as bar,
        ):
            for block in response.iter_content(BLOCK):
                handle.write(block)
                bar.update(len(block))
