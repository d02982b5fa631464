"""The API of Proxmox VE as one node serves it, spoken through proxmoxer: verified, bounded, in sentences.

The certificate is checked against the node's own authority, which is read over SSH, where the host key has
been checked. When a node joins a cluster it gets another authority and another certificate, and its tickets
end: `forget` has both read anew, and so does a call that meets a certificate or a ticket of before.
Formats: proxmox.md j. (UPID, task status, error shapes).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import requests
from proxmoxer import ProxmoxAPI
from proxmoxer.core import AuthenticationError, ResourceException

from cluster.errors import DeadlineError, RackproofError, UnreachableError

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from cluster.site_models import Pve as PveTable

Method = Literal["get", "post", "put", "delete"]
Observer = Callable[[str, str, str, float], None]
Progress = Callable[[str], None]

TIMEOUT_S = 60.0
POLL_S = 1.0
SERVER_ERROR = 500
RESTART_S = 60.0
"""For how long a task may leave the API without what it needs to answer."""
LOG_LINES = 3
CA = "/etc/pve/pve-root-ca.pem"
_SECRET = ("password", "key", "secret", "token-value", "otp")
_DIRECT = {"http": "", "https": "", "all": ""}  # an address of the site is reached directly, through no proxy


class Addressed(Protocol):
    """What a node's specification must tell."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> IPv4Address: ...


class PveError(RackproofError):
    """The API answered, and refused, or a task failed. `status` is HTTP's (0 for a task), `reason` its text,
    `errors` what was wrong with each parameter.
    """

    def __init__(
        self, message: str, status: int = 0, reason: str = "", errors: Mapping[str, Any] | None = None
    ) -> None:
        self.status = status
        self.reason = reason
        self.errors = dict(errors or {})
        super().__init__(message)


class Pve:
    """One node's API as the site's user. The connection is opened on first use; calls may come from threads.

    `password` and `authority` are asked when the connection is opened: the user's password, and the PEM
    text of the certificate authority.
    """

    def __init__(
        self,
        spec: Addressed,
        table: PveTable,
        *,
        password: Callable[[], str],
        authority: Callable[[], str],
        observer: Observer | None = None,
    ) -> None:
        self.name = spec.name
        self.where = f"{spec.name} ({spec.address}:{table.port})"
        self._host = str(spec.address)
        self._table = table
        self._password = password
        self._authority = authority
        self._observer = observer
        self._lock = threading.Lock()
        self._api: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def call(self, method: Method, path: str, **params: Any) -> Any:
        """The `data` of one call; `path` as the API viewer writes it, without the leading slash.

        Booleans become 0 and 1, None is left out. Raises PveError, UnreachableError. A certificate or a
        ticket that is no longer valid is met by opening the connection once more: neither did anything.
        """
        values = {k: int(v) if isinstance(v, bool) else v for k, v in params.items() if v is not None}
        try:
            return self._once(method, path, values)
        except _StaleError:
            self.forget()
        for value in values.values():
            if isinstance(value, io.IOBase):
                value.seek(0)
        try:
            return self._once(method, path, values)
        except _StaleError as error:
            raise error.meaning from None

    def task(
        self,
        method: Method,
        path: str,
        deadline_s: float,
        progress: Progress | None = None,
        **params: Any,
    ) -> None:
        """Starts a task and waits until it has ended; warnings count as success.

        Raises PveError with its exit status and its last lines, DeadlineError after `deadline_s` seconds.
        """
        self.wait(str(self.call(method, path, **params)), deadline_s, progress)

    def upload(
        self, storage: str, content: str, file: Path, deadline_s: float, progress: Progress | None = None
    ) -> None:
        """Puts a file into a storage under its own name; the node compares its SHA-256.

        `content`: `iso`, `vztmpl` or `import`. Raises as `task`.
        """
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            values = {"content": content, "checksum": digest, "checksum-algorithm": "sha256"}
            path = f"nodes/{self.name}/storage/{storage}/upload"
            upid = self.call("post", path, **values, filename=stream)
        self.wait(str(upid), deadline_s, progress)

    def wait(self, upid: str, deadline_s: float, progress: Progress | None = None) -> None:
        """Waits for a task that runs. An API that restarts is waited for as well. Raises as `task`."""
        fields = upid.split(":")
        if len(fields) != 9 or fields[0] != "UPID":
            raise PveError(f"{self.where}: expected the id of a task, got '{upid[:80]}'")
        path, what = f"nodes/{fields[1]}/tasks/{upid}", f"{fields[5]} {fields[6]}".strip()
        began = time.monotonic()
        told, silence, heard = 0, "", began
        while (took := time.monotonic() - began) < deadline_s:
            try:
                state = self.call("get", f"{path}/status")
                if progress is not None:
                    told = self._tell_log(path, told, progress, f"{self.name}: {what}", took)
            except (UnreachableError, PveError) as error:
                # The task itself may restart what the API reads (/etc/pve, when a cluster is made or joined).
                if isinstance(error, PveError) and (
                    error.status < SERVER_ERROR or time.monotonic() - heard > RESTART_S
                ):
                    raise
                silence = str(error)
                if isinstance(error, UnreachableError):
                    self.forget()
            else:
                silence, heard = "", time.monotonic()
                if state.get("status") == "stopped":
                    self._judge(path, what, str(state.get("exitstatus", "")), took)
                    return
            time.sleep(POLL_S)
        raise DeadlineError(
            f"{self.where}: task {what} did not end within {deadline_s:g} s"
            + (f"; the API does not answer: {silence}" if silence else "")
        )

    def running(self, kind: str) -> list[str]:
        """Ids of this node's tasks of one kind (`clusterjoin`, ...) that have not ended."""
        rows = self.call("get", f"nodes/{self.name}/tasks", source="active", typefilter=kind)
        return [str(row["upid"]) for row in rows if not row.get("endtime") and row.get("type") == kind]

    def forget(self) -> None:
        """Log in anew, with the authority read again, at the next call: the node's certificate changed."""
        with self._lock:
            self._close()

    close = forget

    def _judge(self, path: str, what: str, exit_status: str, took: float) -> None:
        if exit_status == "OK" or exit_status.startswith("WARNINGS"):
            return
        lines: list[str] = []
        with contextlib.suppress(RackproofError):
            lines = [str(row.get("t", "")) for row in self.call("get", f"{path}/log", limit=500)]
        last = "; ".join(line.strip() for line in lines[-LOG_LINES:] if line.strip())
        raise PveError(
            f"{self.where}: task {what} failed after {took:.0f} s: {exit_status or 'it gives no reason'}"
            + (f" (its last lines: {last})" if last else ""),
            reason=exit_status,
        )

    def _tell_log(self, path: str, told: int, progress: Progress, what: str, took: float) -> int:
        rows = self.call("get", f"{path}/log", start=told, limit=100)
        fresh = [row for row in rows if int(row.get("n", 0)) > told and str(row.get("t", "")).strip()]
        for row in fresh:
            progress(f"{what}: {str(row['t']).strip()} ({took:.0f} s)")
        return max([told, *(int(row.get("n", 0)) for row in rows)])

    def _once(self, method: Method, path: str, values: Mapping[str, Any]) -> Any:
        began = time.monotonic()
        doing = f"{method.upper()} /{path.strip('/')}"
        outcome = "no answer"
        try:
            found = getattr(self._open()(path.strip("/")), method)(**values)
            outcome = str(found)[:2000]
            return found
        except ResourceException as error:
            outcome = f"{error.status_code} {error.content}"
            raise self._refusal(doing, error) from None
        except AuthenticationError as error:
            outcome = str(error)
            if "code: 401" not in outcome:  # it is about to start, or to stop
                raise UnreachableError(f"{self.where}: the API lets nobody in yet: {outcome}") from None
            raise PveError(
                f"{self.where}: user {self._table.user} is refused with the password of pve.password", 401
            ) from None
        except requests.exceptions.SSLError as error:
            untrusted = UnreachableError(
                f"{self.where} is not spoken to: its certificate is not one of the node's own authority"
                f" ({_short(error)})"
            )
            raise _StaleError(untrusted) from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise UnreachableError(
                f"{self.where}: no answer from the API to {doing} within {TIMEOUT_S:g} s: {_short(error)}"
            ) from None
        except (KeyError, TypeError, ValueError) as error:
            raise PveError(f"{self.where}: {doing} gave no answer of Proxmox VE: {_short(error)}") from None
        finally:
            if self._observer is not None:
                self._observer(
                    f"{self.name} api", f"{doing}{_shown(values)}", outcome, time.monotonic() - began
                )

    def _refusal(self, doing: str, error: ResourceException) -> RackproofError:
        reason = str(error.content).split(" - {")[0].strip() or str(error.status_message)
        given = error.errors if isinstance(error.errors, dict) else {}
        errors = {str(k): str(v).strip() for k, v in given.items() if k != "errors"}
        detail = "; ".join(f"{name}: {text}" for name, text in errors.items())
        text = f"{self.where}: {doing} was refused with {error.status_code}: {reason}"
        refusal = PveError(text + (f" ({detail})" if detail else ""), error.status_code, reason, errors)
        if error.status_code == 401:
            return _StaleError(refusal)
        if error.status_code >= 595:
            return UnreachableError(f"{text}: the node that it is for does not answer")
        return refusal

    def _open(self) -> Any:
        with self._lock:
            if self._api is None:
                self._folder = tempfile.TemporaryDirectory(prefix="rackproof-pve-")
                bundle = Path(self._folder.name) / "ca.pem"
                bundle.write_text(self._authority(), encoding="utf-8")
                self._api = ProxmoxAPI(
                    self._host,
                    port=self._table.port,
                    user=self._table.user,
                    password=self._password(),
                    verify_ssl=str(bundle),
                    timeout=TIMEOUT_S,
                    proxies=dict(_DIRECT),
                )
                self._api._store["session"].trust_env = False  # its requests heed no proxy of ours
            return self._api

    def _close(self) -> None:
        api, folder, self._api, self._folder = self._api, self._folder, None, None
        if api is not None:
            api._store["session"].close()
        if folder is not None:
            folder.cleanup()


class _StaleError(RackproofError):
    """The certificate or the ticket may be one of before; `meaning` is what to say when it is not."""

    def __init__(self, meaning: RackproofError) -> None:
        self.meaning = meaning
        super().__init__(str(meaning))


def _shown(values: Mapping[str, Any]) -> str:
    """Parameters as a transcript may show them."""
    told = {k: "***" if any(word in k.lower() for word in _SECRET) else _told(v) for k, v in values.items()}
    return f" {told}" if told else ""


def _told(value: Any) -> Any:
    return Path(str(getattr(value, "name", ""))).name if isinstance(value, io.IOBase) else value


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
