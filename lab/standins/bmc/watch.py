"""What happens to the server: power and reset events from libvirt go to the event log and end boot-once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import libvirt

from lab.standins.bmc.eventlog import EventLog, timestamp
from lab.standins.bmc.machine import set_cd_first

LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: ("System powered on", "OK"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: ("System powered off", "OK"),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: ("System crashed", "Critical"),
}
STOPPED_HOW = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "System powered off by its operating system",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "System power removed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "System failed",
}


class BootOverride:
    """The boot override as Redfish shows it; kept in a file, so that a restarted BMC remembers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def get(self) -> tuple[str, str]:
        """(enabled, target): Disabled, Once or Continuous; None or Cd or Hdd."""
        with self._lock:
            try:
                enabled, target = json.loads(self._path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return "Disabled", "None"
            return str(enabled), str(target)

    def set(self, enabled: str, target: str) -> None:
        with self._lock:
            self._path.write_text(json.dumps([enabled, target]), encoding="utf-8")


class Watch:
    """Follows one server's events in a thread of its own. `kept`: the file of the last reset, so that a
    restarted BMC remembers.
    """

    def __init__(self, uri: str, uuid: str, log: EventLog, override: BootOverride, kept: Path) -> None:
        self._log, self._override, self._kept = log, override, kept
        libvirt.virEventRegisterDefaultImpl()
        self._connection = libvirt.open(uri)
        machine = self._connection.lookupByUUIDString(uuid)
        for event, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._reboot),
            (libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG, self._watchdog),
        ):
            self._connection.domainEventRegisterAny(machine, event, callback, None)
        threading.Thread(target=self._run, name="events", daemon=True).start()

    @property
    def last_reset(self) -> str | None:
        """When the server was last reset or switched on; None where that was never seen."""
        return self._kept.read_text(encoding="utf-8") if self._kept.exists() else None

    @staticmethod
    def _run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    def _lifecycle(self, _connection: Any, machine: Any, event: int, detail: int, _opaque: Any) -> None:
        if event not in LIFECYCLE:
            return
        message, severity = LIFECYCLE[event]
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            message = STOPPED_HOW.get(detail, message)
        self._log.add(message, severity, "System ACPI Power State")
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            self._booted(machine)

    def _reboot(self, _connection: Any, machine: Any, _opaque: Any) -> None:
        self._log.add("System reset", "OK", "System Boot / Restart Initiated")
        self._booted(machine)

    def _watchdog(self, _connection: Any, _machine: Any, _action: int, _opaque: Any) -> None:
        self._log.add("Watchdog expired: system reset", "Critical", "Watchdog 2")

    def _booted(self, machine: Any) -> None:
        """The running boot keeps the order it started with; what is changed here holds for the next."""
        self._kept.write_text(timestamp(), encoding="utf-8")
        if self._override.get()[0] == "Once":
            self._override.set("Disabled", "None")
            set_cd_first(machine, False, live=True)
