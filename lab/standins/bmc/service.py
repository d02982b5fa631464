"""The Redfish service of one BMC: sushy-tools' application with what it lacks, and without its inventions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
from sushy_tools import error
from sushy_tools.emulator import main as emulator

from lab.standins.bmc.eventlog import EventLog, timestamp
from lab.standins.bmc.inventory import Inventory
from lab.standins.bmc.sessions import LOGIN, Sessions
from lab.standins.bmc.watch import BootOverride, Watch

SESSIONS = LOGIN.rpartition("/")[0]
OVERRIDES = ("Disabled", "Once", "Continuous")


class Service:
    """Adds routes to sushy-tools' application and corrects answers. `uuid` names system and manager alike."""

    def __init__(
        self,
        app: Any,
        uuid: str,
        inventory: Inventory,
        log: EventLog,
        override: BootOverride,
        watch: Watch,
        sessions: Sessions,
    ) -> None:
        self._app, self._uuid, self._inventory, self._log = app, uuid, inventory, log
        self._override, self._watch, self._sessions = override, watch, sessions
        self._system = f"/redfish/v1/Systems/{uuid}"
        self._manager = f"/redfish/v1/Managers/{uuid}"
        self._routes()
        self._corrections: dict[str, Callable[[dict[str, Any]], None]] = {
            "root_resource": self._correct_root,
            "system_resource": self._correct_system,
            "manager_resource": self._correct_manager,
            "ethernet_interface": self._correct_port,
        }
        app.before_request(self._before)
        app.after_request(self._after)

    def _routes(self) -> None:
        rules: list[tuple[str, Callable[..., Any], list[str]]] = [
            (SESSIONS, self._session_service, ["GET"]),
            (LOGIN, self._session_collection, ["GET"]),
            (LOGIN, self._session_login, ["POST"]),
            (f"{LOGIN}/<identity>", self._session, ["GET"]),
            (f"{LOGIN}/<identity>", self._session_logout, ["DELETE"]),
        ]
        for owner in (self._system, self._manager):
            here = f"{owner}/LogServices"
            rules += [
                (here, self._log_services, ["GET"]),
                (f"{here}/SEL", self._log_service, ["GET"]),
                (f"{here}/SEL/Entries", self._log_entries, ["GET"]),
                (f"{here}/SEL/Actions/LogService.ClearLog", self._log_clear, ["POST"]),
            ]
        for number, (rule, view, methods) in enumerate(rules):
            self._app.add_url_rule(rule, f"rack_{number}", view, methods=methods)
        views = self._app.view_functions
        views["storage_collection"] = lambda identity: self._of(
            identity, self._inventory.storage_collection()
        )
        views["storage"] = lambda identity, storage_id: self._of(
            identity, self._inventory.storage(), storage_id
        )
        views["drive_resource"] = self._drive

    # -- sessions

    def _session_service(self) -> Any:
        return {
            "@odata.type": "#SessionService.v1_1_8.SessionService",
            "@odata.id": SESSIONS,
            "Id": "SessionService",
            "Name": "Session Service",
            "ServiceEnabled": True,
            "SessionTimeout": 1800,
            "Sessions": {"@odata.id": LOGIN},
        }

    def _session_collection(self) -> Any:
        members = [{"@odata.id": f"{LOGIN}/{identity}"} for identity in self._sessions.all()]
        return {
            "@odata.type": "#SessionCollection.SessionCollection",
            "@odata.id": LOGIN,
            "Name": "Sessions",
            "Members@odata.count": len(members),
            "Members": members,
        }

    def _session_login(self) -> Any:
        body = flask.request.get_json(force=True, silent=True) or {}
        try:
            opened = self._sessions.login(str(body.get("UserName", "")), str(body.get("Password", "")))
        except error.FishyError:
            raise error.FishyError("invalid user name or password", code=401) from None
        if opened is None:
            raise error.FishyError("too many sessions are open", code=503)
        identity, token = opened
        answer = flask.jsonify(self._describe(identity, str(body.get("UserName"))))
        answer.status_code = 201
        answer.headers["X-Auth-Token"] = token
        answer.headers["Location"] = f"{LOGIN}/{identity}"
        return answer

    @staticmethod
    def _describe(identity: str, user: str) -> dict[str, Any]:
        return {
            "@odata.type": "#Session.v1_3_0.Session",
            "@odata.id": f"{LOGIN}/{identity}",
            "Id": identity,
            "Name": "User Session",
            "UserName": user,
        }

    def _session(self, identity: str) -> Any:
        user = self._sessions.all().get(identity)
        if user is None:
            raise error.NotFound(f"no session {identity}")
        return self._describe(identity, user)

    def _session_logout(self, identity: str) -> Any:
        if not self._sessions.close(identity):
            raise error.NotFound(f"no session {identity}")
        return "", 204

    # -- event log

    @staticmethod
    def _here(part: str) -> str:
        path = flask.request.path.rstrip("/")
        return path[: path.index("/LogServices")] + "/LogServices" + part

    def _log_services(self) -> Any:
        return {
            "@odata.type": "#LogServiceCollection.LogServiceCollection",
            "@odata.id": self._here(""),
            "Name": "Log Services",
            "Members@odata.count": 1,
            "Members": [{"@odata.id": self._here("/SEL")}],
        }

    def _log_service(self) -> Any:
        return {
            "@odata.type": "#LogService.v1_1_3.LogService",
            "@odata.id": self._here("/SEL"),
            "Id": "SEL",
            "Name": "System Event Log",
            "LogEntryType": "SEL",
            "OverWritePolicy": "WrapsWhenFull",
            "MaxNumberOfRecords": 512,
            "ServiceEnabled": True,
            "DateTime": timestamp(),
            "DateTimeLocalOffset": "+00:00",
            "Status": {"State": "Enabled", "Health": "OK"},
            "Entries": {"@odata.id": self._here("/SEL/Entries")},
            "Actions": {"#LogService.ClearLog": {"target": self._here("/SEL/Actions/LogService.ClearLog")}},
        }

    def _log_entries(self) -> Any:
        here = self._here("/SEL/Entries")
        members = [
            {
                "@odata.type": "#LogEntry.v1_8_0.LogEntry",
                "@odata.id": f"{here}/{entry['Id']}",
                "Name": "Log Entry",
                "EntryType": "SEL",
                **entry,
            }
            for entry in self._log.entries()
        ]
        return {
            "@odata.type": "#LogEntryCollection.LogEntryCollection",
            "@odata.id": here,
            "Name": "Log Entries",
            "Members@odata.count": len(members),
            "Members": members,
        }

    def _log_clear(self) -> Any:
        self._log.clear()
        return "", 204

    # -- storage

    def _of(self, identity: str, resource: dict[str, Any], storage: str | None = None) -> Any:
        if identity != self._uuid or (storage is not None and storage != resource["Id"]):
            raise error.NotFound("no such storage")
        return resource

    def _drive(self, identity: str, stg_id: str, drv_id: str) -> Any:
        resource = self._inventory.drive(drv_id)
        if identity != self._uuid or stg_id != self._inventory.storage()["Id"] or resource is None:
            raise error.NotFound(f"no drive {drv_id}")
        return resource

    # -- corrections

    def _before(self) -> Any:
        """Refuse what hardware refuses and remember how long a boot override is to hold."""
        if flask.request.endpoint == "system_reset_action":
            kind = (flask.request.get_json(silent=True) or {}).get("ResetType")
            known = self._resets()
            if kind not in known:
                raise error.BadRequest(f"ResetType {kind!r} is not known, expected one of {', '.join(known)}")
        boot = self._patched_boot()
        if boot and boot.get("BootSourceOverrideEnabled", "Once") not in OVERRIDES:
            raise error.BadRequest(f"BootSourceOverrideEnabled must be one of {', '.join(OVERRIDES)}")
        if boot and boot.get("BootSourceOverrideEnabled") == "Disabled":
            self._app.systems.set_boot_device(self._uuid, "None")
            self._override.set("Disabled", "None")
            return "", 204
        return None

    @staticmethod
    def _resets() -> tuple[str, ...]:
        return "On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi", "ForceOn"

    @staticmethod
    def _patched_boot() -> dict[str, Any] | None:
        if flask.request.endpoint == "system_resource" and flask.request.method == "PATCH":
            boot = (flask.request.get_json(silent=True) or {}).get("Boot")
            return boot if isinstance(boot, dict) else None
        return None

    def _after(self, response: Any) -> Any:
        boot = self._patched_boot()
        if boot and response.status_code < 300 and boot.get("BootSourceOverrideTarget"):
            enabled = boot.get("BootSourceOverrideEnabled", "Once")
            target = boot["BootSourceOverrideTarget"] if enabled != "Disabled" else "None"
            self._override.set(enabled if target != "None" else "Disabled", target)
        correct = self._corrections.get(flask.request.endpoint or "")
        if correct and flask.request.method == "GET" and response.status_code == 200:
            resource = response.get_json(force=True)
            correct(resource)
            response.set_data(flask.json.dumps(resource))
        return response

    def _correct_root(self, resource: dict[str, Any]) -> None:
        resource["SessionService"] = {"@odata.id": SESSIONS}
        resource["Links"] = {"Sessions": {"@odata.id": LOGIN}}
        resource["Product"] = "Rack BMC"

    def _correct_system(self, resource: dict[str, Any]) -> None:
        resource.update(self._inventory.identity())
        resource["LogServices"] = {"@odata.id": f"{self._system}/LogServices"}
        if at := self._watch.last_reset:
            resource["LastResetTime"] = at
        enabled, target = self._override.get()
        resource["Boot"] = {
            "BootSourceOverrideEnabled": enabled,
            "BootSourceOverrideTarget": target,
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Cd", "Hdd"],
            "BootSourceOverrideEnabled@Redfish.AllowableValues": list(OVERRIDES),
        }

    def _correct_manager(self, resource: dict[str, Any]) -> None:
        resource["LogServices"] = {"@odata.id": f"{self._manager}/LogServices"}
        resource["Description"] = "BMC of a virtual server"
        resource["Model"] = "Rack BMC"
        resource["DateTime"] = self._clock(resource)

    def _clock(self, resource: dict[str, Any]) -> str:
        """A clock that was set keeps the time it was set to (sushy-tools'); else the machine's, in UTC."""
        return str(resource["DateTime"]) if self._app.managers.get_datetime() else timestamp()

    def _correct_port(self, resource: dict[str, Any]) -> None:
        resource.update(self._inventory.link(str(resource.get("MACAddress", ""))))


def application() -> Any:
    """sushy-tools' application object."""
    return emulator.app
