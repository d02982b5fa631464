"""A Redfish service on loopback with the habits of several makers, each switched on by name."""

from __future__ import annotations

import base64
import copy
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

V1 = "/redfish/v1"
USER, PASSWORD = "ADMIN", "pass word"


@dataclass
class Habits:
    """What differs between makers."""

    sessions: bool = True
    session_errors: bool = False  # advertises sessions, but makes none
    media_owner: str = "Managers"
    media_extra_keys: bool = True  # False: Supermicro, which takes Image alone
    etag: str = ""  # "strong" | "weak-refused" (only the form without W/ is taken)
    tasks: str = ""  # "ok" | "fails": actions are answered 202
    action_info: bool = False
    busy: int = 0  # so many GETs are answered 503
    license: bool = True
    clock_s: float = 0
    power_s: float = 0.0
    stuck_media: bool = False


@dataclass
class FakeBmc:
    """Runs while the `with` block lasts; `log` is each request as (method, path, body)."""

    certificate: Path
    key: Path
    habits: Habits = field(default_factory=Habits)
    tree: dict[str, Any] = field(default_factory=dict)
    log: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    etags: dict[str, int] = field(default_factory=dict)
    opened: int = 0
    pending: tuple[float, str] | None = None

    def __post_init__(self) -> None:
        self.tree = _tree(self.habits)

    def __enter__(self) -> FakeBmc:
        fake = self

        class Handler(_Handler):
            bmc = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sent(self, method: str) -> list[tuple[str, Any]]:
        return [(path, body) for how, path, body in self.log if how == method and "Sessions" not in path]

    def system(self) -> dict[str, Any]:
        if self.pending and time.monotonic() >= self.pending[0]:
            self.tree[f"{V1}/Systems/1"]["PowerState"] = self.pending[1]
            self.pending = None
        return self.tree[f"{V1}/Systems/1"]


class _Handler(BaseHTTPRequestHandler):
    bmc: FakeBmc
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment an answer: else Nagle and delayed ACK cost 40 ms each

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PATCH(self) -> None:
        self._handle("PATCH")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.rstrip("/") or "/"
        self.bmc.log.append((method, path, body))
        if path.endswith("/Sessions") and method == "POST":
            self._login(body)
        elif path != V1 and not self._known():
            self._error(401, "NoValidSession", "There is no valid session")
        elif method == "DELETE":
            self._answer(204 if self.bmc.tokens.pop(path.rsplit("/", 1)[1], None) else 404)
        else:
            getattr(self, f"_{method.lower()}")(path, body)

    def _login(self, body: Any) -> None:
        habits = self.bmc.habits
        if not habits.sessions or habits.session_errors:
            self._error(500 if habits.session_errors else 404, "General", "no sessions here")
        elif (body["UserName"], body["Password"]) != (USER, PASSWORD):
            self._error(401, "ResourceAtUriUnauthorized", "bad user or password")
        else:
            self.bmc.opened += 1
            name = f"s{self.bmc.opened}"
            self.bmc.tokens[name] = token = f"token-{name}"
            place = f"{V1}/SessionService/Sessions/{name}"
            self._answer(201, {"@odata.id": place}, {"X-Auth-Token": token, "Location": place})

    def _known(self) -> bool:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return self.headers.get("Authorization") == basic or (
            self.headers.get("X-Auth-Token") in self.bmc.tokens.values()
        )

    def _get(self, path: str, body: Any) -> None:
        habits = self.bmc.habits
        if habits.busy and path != V1:
            habits.busy -= 1
            self._answer(503, {}, {"Retry-After": "1"})
            return
        if path == f"{V1}/Managers/1":
            now = datetime.now(UTC) + timedelta(seconds=habits.clock_s)
            self.bmc.tree[path]["DateTime"] = now.strftime("%Y-%m-%dT%H:%M:%S+00:00")
        self.bmc.system()
        found = self.bmc.tree.get(path)
        if found is None:
            self._error(404, "ResourceMissingAtURI", f"{path} was not found")
            return
        headers = {}
        if habits.etag:
            number = self.bmc.etags.get(path, 0)
            headers["ETag"] = f'W/"{number}"' if habits.etag == "weak-refused" else f'"{number}"'
        status = found.get("_status", 200) if isinstance(found, dict) else 200
        self._answer(status, found, headers)

    def _patch(self, path: str, body: Any) -> None:
        if self.bmc.habits.etag and self.headers.get("If-Match") != f'"{self.bmc.etags.get(path, 0)}"':
            self._error(412, "PreconditionFailed", "The ETag did not match")
            return
        self.bmc.etags[path] = self.bmc.etags.get(path, 0) + 1
        for key, value in body.items():
            if isinstance(value, dict):
                self.bmc.tree[path][key].update(value)
            else:
                self.bmc.tree[path][key] = value
        self._answer(204)

    def _post(self, path: str, body: Any) -> None:
        habits = self.bmc.habits
        if path.endswith("ComputerSystem.Reset"):
            state = "Off" if body["ResetType"] == "ForceOff" else "On"
            if body["ResetType"] == "Nmi" and not habits.license:
                self._error(403, "InsufficientPrivilege", "Not licensed: activate the OOB license")
                return
            if self.bmc.system()["PowerState"] == state:
                self._error(409, "Conflict", f"already {state}")
                return
            self.bmc.pending = (time.monotonic() + habits.power_s, state)
        elif "InsertMedia" in path:
            if not habits.media_extra_keys and set(body) != {"Image"}:
                self._error(400, "ActionParameterNotSupported", "The parameter Inserted is not supported")
                return
            self._medium(path).update(Image=body["Image"], Inserted=True, ConnectedVia="URI")
        elif "EjectMedia" in path:
            if not self._medium(path)["Inserted"]:
                self._error(400, "General", "nothing is inserted")
                return
            if habits.stuck_media:  # the board keeps the name and says that nothing is connected
                self._medium(path).update(ConnectedVia="NotConnected")
            else:
                self._medium(path).update(Image=None, Inserted=False, ConnectedVia="NotConnected")
        else:
            self._error(404, "ActionNotSupported", "no such action")
            return
        if habits.tasks:
            state = "Completed" if habits.tasks == "ok" else "Exception"
            self.bmc.tree[f"{V1}/TaskService/Tasks/1"] = {
                "TaskState": state,
                "Messages": [{"Message": "the image could not be read"}],
            }
            self._answer(202, {}, {"Location": f"{V1}/TaskService/Tasks/1"})
        else:
            self._answer(204)

    def _medium(self, path: str) -> dict[str, Any]:
        return self.bmc.tree[path.split("/Actions/")[0]]

    def _error(self, status: int, code: str, message: str) -> None:
        info = [{"MessageId": f"Base.1.10.{code}", "Message": message + ".", "Resolution": "Try another."}]
        body = {
            "error": {
                "code": "Base.1.10.GeneralError",
                "message": "See ExtendedInfo",
                "@Message.ExtendedInfo": info,
            }
        }
        self._answer(status, body)

    def _answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _links(*paths: str) -> list[dict[str, str]]:
    return [{"@odata.id": path} for path in paths]


def _tree(habits: Habits) -> dict[str, Any]:
    media = f"{V1}/{habits.media_owner}/1/VirtualMedia"
    reset: dict[str, Any] = {"target": f"{V1}/Systems/1/Actions/ComputerSystem.Reset"}
    if habits.action_info:
        reset["@Redfish.ActionInfo"] = f"{V1}/Systems/1/ResetActionInfo"
    else:
        reset["ResetType@Redfish.AllowableValues"] = ["On", "ForceOff", "Nmi"]
    system = {
        "Manufacturer": "Supermicro", "Model": "AS-2115GT",
        "SerialNumber": "S1", "SKU": "To be filled by O.E.M.",
        "BiosVersion": "3.1", "PowerState": "Off", "Name": "System",
        "Status": {"Health": "OK", "HealthRollup": "Warning"},
        "ProcessorSummary": {"Count": 1, "Model": "EPYC 9554"},
        "MemorySummary": {"TotalSystemMemoryGiB": 768},
        "Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None",
                 "BootSourceOverrideMode": "Legacy",
                 "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Cd", "Hdd"]},
        "Actions": {"#ComputerSystem.Reset": reset},
        "Links": {"ManagedBy": _links(f"{V1}/Managers/1"), "Chassis": _links(f"{V1}/Chassis/1")},
        "Storage": {"@odata.id": f"{V1}/Systems/1/Storage"},
        "EthernetInterfaces": {"@odata.id": f"{V1}/Systems/1/EthernetInterfaces"},
    }  # fmt: skip
    tree: dict[str, Any] = {
        V1: {"RedfishVersion": "1.11.0", "Systems": {"@odata.id": f"{V1}/Systems"}},
        f"{V1}/Systems": {"Members": _links(f"{V1}/Systems/1")},
        f"{V1}/Systems/1": system,
        f"{V1}/Systems/1/ResetActionInfo": {
            "Parameters": [{"Name": "ResetType", "AllowableValues": ["On", "ForceOff", "GracefulShutdown"]}]
        },
        f"{V1}/Managers/1": {"FirmwareVersion": "01.02.03"},
        f"{V1}/Chassis/1": {"Links": {"Drives": _links(f"{V1}/Chassis/1/Drives/2", f"{V1}/Drives/1")}},
        f"{V1}/Systems/1/Storage": {"Members": _links(f"{V1}/Systems/1/Storage/1")},
        f"{V1}/Systems/1/Storage/1": {"Drives": _links(f"{V1}/Drives/1")},
        f"{V1}/Drives/1": {"SerialNumber": "BOOT11", "Model": "PM9A3", "CapacityBytes": 960_197_124_096},
        f"{V1}/Chassis/1/Drives/2": {"SerialNumber": "DATA101", "Model": "CM7", "CapacityBytes": None},
        f"{V1}/Systems/1/EthernetInterfaces": {
            "Members": _links(f"{V1}/Nics/1"), "Members@odata.nextLink": f"{V1}/More",
        },
        f"{V1}/More": {"Members": _links(f"{V1}/Nics/2")},
        f"{V1}/Nics/1": {"MACAddress": "52-54-00-01-00-00", "LinkStatus": "LinkUp"},
        f"{V1}/Nics/2": {"MACAddress": "02:00:00:00:00:00", "PermanentMACAddress": "52:54:00:AA:00:01"},
        media: {"Members": _links(f"{media}/USB1", f"{media}/CD1")},
        f"{media}/USB1": {"MediaTypes": ["USBStick"], "Inserted": False},
        f"{media}/CD1": {
            "@odata.id": f"{media}/CD1", "MediaTypes": ["CD", "DVD"], "Inserted": False, "Image": None,
            "ConnectedVia": "NotConnected",
            "Actions": {
                "#VirtualMedia.InsertMedia": {"target": f"{media}/CD1/Actions/VirtualMedia.InsertMedia"},
                "#VirtualMedia.EjectMedia": {"target": f"{media}/CD1/Actions/VirtualMedia.EjectMedia"},
            },
        },
        f"{V1}/Managers/1/LogServices": {"Members": _links(f"{V1}/Managers/1/LogServices/SEL")},
        f"{V1}/Managers/1/LogServices/SEL": {
            "Entries": {"@odata.id": f"{V1}/Managers/1/LogServices/SEL/Entries"},
        },
        f"{V1}/Managers/1/LogServices/SEL/Entries": {
            "Members": [
                {"@odata.id": "x", "Created": "2026-01-01T00:00:00Z", "Severity": "OK", "Message": "Cleared"}
            ]
        },
    }  # fmt: skip
    tree[f"{V1}/{habits.media_owner}/1"]["VirtualMedia"] = {"@odata.id": media}
    tree[f"{V1}/Managers/1"]["LogServices"] = {"@odata.id": f"{V1}/Managers/1/LogServices"}
    if habits.sessions:
        tree[V1]["Links"] = {"Sessions": {"@odata.id": f"{V1}/SessionService/Sessions"}}
    for path, resource in tree.items():
        resource.setdefault("@odata.id", path)
    return copy.deepcopy(tree)
