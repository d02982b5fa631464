"""Redfish over HTTPS with what the DMTF library leaves to its caller: verified TLS, deadlines, one sentence
per error.

Facts (python "redfish" 3.4): without `cafile` it verifies nothing; `max_retry` repeats POST as well, so a
reset could be sent twice: it is 0 here and only GET is repeated. BMCs keep few sessions (often 16): `close`
deletes ours.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import redfish
from redfish.rest.v1 import (
    InvalidCredentialsError,
    JsonDecodingError,
    RetriesExhaustedError,
    ServerDownOrUnreachableError,
    SessionCreationError,
)

from cluster.errors import DeadlineError, RackproofError, UnreachableError

TIMEOUT_S = 15.0  # to connect, and again between two bytes of an answer
READS = 3  # attempts of a GET
TASK_S = 120.0
_BUSY_S = 10  # longest Retry-After that is waited for
_MEMBERS = 500

logging.getLogger("redfish").setLevel(logging.CRITICAL)  # it logs whole bodies

Observer = Callable[[str, str, str, float], None]


class RedfishError(RackproofError):
    """The BMC answered, and refused; `status` is the HTTP status, `message` its own words."""

    def __init__(self, message: str, status: int = 0, words: str = "") -> None:
        self.status = status
        self.words = words
        super().__init__(message)


class CredentialsError(RedfishError):
    """The BMC does not accept the stored user and password."""


class UntrustedError(UnreachableError):
    """The BMC's certificate is not one that the site trusts; nothing was sent to it."""


@dataclass(frozen=True)
class Endpoint:
    """Where a BMC is and whom we are to it. `secret_names` are references for messages, never values."""

    name: str
    address: str
    port: int
    ca_file: Path | None
    secret_names: str

    @property
    def where(self) -> str:
        """For messages: whose BMC, and its address."""
        return f"the BMC of {self.name} ({self.address}:{self.port})"


class RedfishClient:
    """GET, POST and PATCH on one BMC; logs in on first use, with a session where the BMC offers them.

    Safe for use by threads: one request at a time. Raises (every method) `UnreachableError`,
    `CredentialsError`, `RedfishError`.
    """

    def __init__(
        self, endpoint: Endpoint, login: Callable[[], tuple[str, str]], observer: Observer | None = None
    ) -> None:
        self.endpoint = endpoint
        self.where = endpoint.where
        self._login = login
        self._observer = observer
        self._client: Any = None
        self._lock = threading.RLock()

    def root(self) -> Mapping[str, Any]:
        """The service root."""
        return self.get("/redfish/v1/")

    def get(self, path: str) -> dict[str, Any]:
        """A resource. Repeated up to `READS` times where no answer comes or the BMC is busy."""
        return self._body(self._get(path))

    def find(self, path: str) -> dict[str, Any] | None:
        """A resource, or None where the BMC does not have it (404, 405, 501)."""
        answer = self._get(path, allowed=(404, 405, 501))
        return self._body(answer) if answer.status < 300 else None

    def members(self, collection: str) -> Iterator[dict[str, Any]]:
        """The resources of a collection, page by page; nothing where the BMC does not have it."""
        page, seen = self.find(collection), 0
        while page is not None:
            for link in page.get("Members", []):
                seen += 1
                if seen > _MEMBERS:
                    return
                # Log entries come inside the collection; others as links.
                yield link if len(link) > 1 else self.get(link["@odata.id"])
            following = page.get("Members@odata.nextLink") or page.get("@odata.nextLink")
            page = self.find(following) if following else None

    def post(self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT_S) -> None:
        """An action, sent once. Where the BMC makes a task of it (202), waits `TASK_S` seconds at most."""
        answer = self._request("POST", path, body=dict(body), timeout=timeout)
        if answer.status >= 300:
            self._refuse("POST", path, answer)
        self._finish(path, answer)

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Change a resource. Its ETag is sent as If-Match, as some BMCs demand, in the forms they accept."""
        answer = self._get(path)
        etag = answer.getheader("etag") or self._body(answer).get("@odata.etag")
        forms: list[str | None] = [etag, etag.removeprefix("W/"), "*"] if etag else [None, "*"]
        for form in dict.fromkeys(forms):
            headers = {"If-Match": form} if form else {}
            answer = self._request("PATCH", path, body=dict(body), headers=headers)
            if answer.status not in (412, 428):
                break
        if answer.status >= 300:
            self._refuse("PATCH", path, answer)
        self._finish(path, answer)

    def close(self) -> None:
        """Log out, which deletes the session on the BMC. Never raises."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                try:
                    client.logout()
                except Exception:  # noqa: BLE001 - a BMC that is gone has no session to delete
                    return

    # -- below: one request

    def _get(self, path: str, allowed: tuple[int, ...] = ()) -> Any:
        for attempt in range(1, READS + 1):
            try:
                answer = self._request("GET", path)
            except UnreachableError as error:
                if attempt == READS or isinstance(error, UntrustedError):
                    raise
                time.sleep(1)
                continue
            if answer.status == 503 and attempt < READS:
                time.sleep(min(answer.retry_after or 2, _BUSY_S))
                continue
            break
        if answer.status >= 300 and answer.status not in allowed:
            self._refuse("GET", path, answer)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT_S,
    ) -> Any:
        start = time.monotonic()
        with self._lock:
            answer = self._send(method, path, body, headers, timeout)
            if answer.status == 401:  # the session has expired or the BMC was reset; nothing was done
                self.close()
                answer = self._send(method, path, body, headers, timeout)
        if answer.status == 401:
            self._refused_login()
        if self._observer is not None:
            where = f"{self.endpoint.name} bmc"
            self._observer(where, f"{method} {path} {body or ''}", f"{answer.status}\n{answer.text}",
                           time.monotonic() - start)  # fmt: skip
        return answer

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        headers: dict[str, str] | None,
        timeout: float,
    ) -> Any:
        client = self._open()
        extra = {} if body is None else {"body": body}
        try:
            return getattr(client, method.lower())(
                path, headers=dict(headers or {}), timeout=timeout, max_retry=0, **extra
            )
        except RetriesExhaustedError as error:
            self._lost(f"{method} {path}", timeout, error)

    def _open(self) -> Any:
        if self._client is None:
            user, password = self._login()
            # The service root is read without credentials; it tells whether there are sessions.
            client = self._connect(user, password)
            sessions = "SessionService" in client.root or "Sessions" in client.root.get("Links", {})
            try:
                if not sessions or not self._session(client):
                    client.login(auth="basic")
            except InvalidCredentialsError:
                self._refused_login()
            except RetriesExhaustedError as error:
                self._lost("login", TIMEOUT_S, error)
            self._client = client
        return self._client

    def _connect(self, user: str, password: str) -> Any:
        at = self.endpoint
        url = f"https://{at.address}:{at.port}"
        try:
            client = redfish.redfish_client(
                base_url=url, username=user, password=password, cafile=str(_authority(at)),
                timeout=TIMEOUT_S, max_retry=0, check_connectivity=False,
            )  # fmt: skip
            client._session.trust_env = False  # no proxy, no netrc: a BMC is reached directly
            client.get_root_object()
            links = client.root.get("Links", {}).get("Sessions", {})
            client.login_url = links.get("@odata.id", "/redfish/v1/SessionService/Sessions")
        except RetriesExhaustedError as error:
            self._lost("GET /redfish/v1/", TIMEOUT_S, error)
        except (ServerDownOrUnreachableError, JsonDecodingError) as error:
            text = " ".join(str(error).split())[:200]
            raise UnreachableError(f"{self.where} does not speak Redfish at {url}: {text}") from None
        return client

    def _session(self, client: Any) -> bool:
        """Open a session; False where the BMC advertises sessions but makes none, so that basic is to be
        tried.
        """
        try:
            client.login(auth="session")
        except SessionCreationError:
            return False
        return bool(client.get_session_key())

    def _refused_login(self) -> NoReturn:
        raise CredentialsError(
            f"{self.where} does not accept the user and password stored at {self.endpoint.secret_names}", 401
        )

    def _lost(self, doing: str, timeout: float, error: Exception) -> NoReturn:
        cause = error.__cause__ or error
        text = " ".join(str(cause).split())
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            why = (
                text.partition("certificate verify failed")[2].partition("(_ssl")[0].strip(" :")
                or "not trusted"
            )
            raise UntrustedError(
                f"{self.where} is not spoken to: its certificate was not verified by"
                f" {_authority(self.endpoint)}: {why}"
            ) from None
        raise UnreachableError(
            f"{self.where} did not answer {doing} within {timeout:g} s: {type(cause).__name__}"
        ) from None

    def _refuse(self, method: str, path: str, answer: Any) -> NoReturn:
        words = explain(answer)
        text = f"{self.where} refused {method} {path} with HTTP {answer.status}: {words}"
        if "licen" in words.lower():
            text += " (PF-BMC-LIC: the board's out-of-band licence is not activated)"
        raise RedfishError(text, answer.status, words)

    def _body(self, answer: Any) -> dict[str, Any]:
        try:
            body = answer.dict
        except JsonDecodingError:
            body = None
        if not isinstance(body, dict):
            raise RedfishError(
                f"{self.where} answered {answer.request.path} with no JSON object", answer.status
            )
        return body

    def _finish(self, path: str, answer: Any) -> None:
        """Wait for the task behind a 202 answer."""
        if answer.status != 202:
            return
        monitor = answer.getheader("location") or (
            self._body(answer).get("@odata.id") if answer.text else None
        )
        if monitor is None:
            return
        begin = time.monotonic()
        while time.monotonic() - begin < TASK_S:
            answer = self._request("GET", urlsplit(monitor).path)
            if answer.status == 404:  # a monitor may be gone once the task is done
                return
            if answer.status >= 300:
                self._refuse("the task of", path, answer)
            task = self._body(answer) if answer.text else {}
            state = task.get("TaskState", "Running" if answer.status == 202 else "Completed")
            if state == "Completed":
                return
            if state in ("Exception", "Killed", "Cancelled", "Interrupted"):
                words = "; ".join(m.get("Message", "") for m in task.get("Messages", [])) or "no message"
                raise RedfishError(f"{self.where}: the task of {path} ended as {state}: {words}", words=words)
            time.sleep(1)
        raise DeadlineError(f"{self.where}: the task of {path} did not end within {TASK_S:g} s")


def explain(answer: Any) -> str:
    """The BMC's own words for an error: message and resolution of each ExtendedInfo, else the error's
    message.
    """
    try:
        error = answer.dict.get("error", {})
    except (JsonDecodingError, AttributeError):
        return " ".join(answer.text.split())[:200] or "no explanation"
    told = [
        " ".join(filter(None, (info.get("Message"), info.get("Resolution"))))
        for info in error.get("@Message.ExtendedInfo") or ()
        if isinstance(info, dict)
    ]
    words = "; ".join(text for text in told if text and text != "None") or str(
        error.get("message") or "no explanation"
    )
    return " ".join(words.split())[:400]


def _authority(endpoint: Endpoint) -> Path:
    """The file that verifies the BMC's certificate: the site's, else the system's. Raises `RackproofError`
    for none.
    """
    path = endpoint.ca_file
    if path is None:
        system = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        path = Path(system) if system else Path("/etc/ssl/certs/ca-certificates.crt")
        if not path.is_file():
            raise RackproofError(
                f"{endpoint.where} is not spoken to: its certificate cannot be verified, the site gives no"
                " bmc.ca_file"
                " and this system has no certificate authorities"
            )
    elif not path.is_file():
        raise RackproofError(f"bmc.ca_file = {path} of {endpoint.name}: there is no such file")
    return path
