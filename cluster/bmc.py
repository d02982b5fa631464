"""A server's management controller by Redfish: what it holds, its power, its boot device, its virtual CD, its
log.

Resources are found by following links; no id is assumed (Systems/1 on one board, a UUID on another). Virtual
media stand under Managers on Supermicro and under Systems elsewhere. What a BMC does not tell is None or
empty, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from cluster.errors import DeadlineError, UnreachableError
from cluster.redfish_client import Endpoint, RedfishClient, RedfishError

if TYPE_CHECKING:
    from cluster.secrets import Secrets
    from cluster.site_models import NodeSpec

CLOCK_RESOLUTION_S = 1.0  # Redfish DateTime has whole seconds
INSERT_S = 180.0  # a BMC may read the whole image before it answers
_POLL_S = 1.0
_LOG_LIMIT = 500
_WANTED = {"On": "On", "ForceOn": "On", "ForceOff": "Off", "GracefulShutdown": "Off"}

Observer = Callable[[str, str, str, float], None]


@dataclass(frozen=True)
class Drive:
    """A drive as the BMC sees it; capacity in bytes."""

    serial: str | None
    model: str | None
    capacity_bytes: int | None


@dataclass(frozen=True)
class Nic:
    """A network port: MAC in lower case with colons; link "LinkUp", "LinkDown", "NoLink" or None."""

    mac: str
    link: str | None


@dataclass(frozen=True)
class BmcInventory:
    """What one server holds as far as its BMC tells; memory in GiB."""

    manufacturer: str | None
    model: str | None
    serial: str | None
    sku: str | None
    bios_version: str | None
    cpu_count: int | None
    cpu_model: str | None
    memory_gib: float | None
    drives: tuple[Drive, ...]
    nics: tuple[Nic, ...]
    power_state: str | None
    health: str | None
    firmware_version: str | None


@dataclass(frozen=True)
class LogEntry:
    """One line of an event log; `created` as the BMC writes it."""

    created: str | None
    severity: str | None
    message: str


class Bmc:
    """One BMC. Methods raise `UnreachableError`, `CredentialsError`, `RedfishError`, `DeadlineError`."""

    def __init__(self, spec: NodeSpec, secrets: Secrets, observer: Observer | None = None) -> None:
        self.spec = spec
        table = spec.bmc
        names = " and ".join(ref.replace("{node}", spec.name) for ref in (table.user, table.password))
        endpoint = Endpoint(spec.name, str(table.address), table.port, table.ca_file, names)
        self.where = endpoint.where
        self._client = RedfishClient(
            endpoint,
            lambda: (
                secrets.resolve(table.user, node=spec.name),
                secrets.resolve(table.password, node=spec.name),
            ),
            observer,
        )

    def close(self) -> None:
        """Delete our session on the BMC. Never raises."""
        self._client.close()

    # -- what it holds

    def inventory(self) -> BmcInventory:
        """What the server holds as far as the BMC tells."""
        system = self._system()
        processors, memory = system.get("ProcessorSummary") or {}, system.get("MemorySummary") or {}
        status = system.get("Status") or {}
        manager = self._manager()
        return BmcInventory(
            manufacturer=_text(system.get("Manufacturer")),
            model=_text(system.get("Model")),
            serial=_text(system.get("SerialNumber")),
            sku=_text(system.get("SKU")),
            bios_version=_text(system.get("BiosVersion")),
            cpu_count=processors.get("Count"),
            cpu_model=_text(processors.get("Model")),
            memory_gib=memory.get("TotalSystemMemoryGiB"),
            drives=tuple(self._drives(system)),
            nics=tuple(self._nics(system)),
            power_state=_text(system.get("PowerState")),
            health=_text(status.get("HealthRollup") or status.get("Health")),
            firmware_version=_text(manager.get("FirmwareVersion")) if manager else None,
        )

    def _drives(self, system: Mapping[str, Any]) -> Iterator[Drive]:
        """Drives of the storage controllers, then of the chassis' backplanes, each once."""
        links = [
            drive["@odata.id"]
            for storage in self._linked(system, "Storage")
            for drive in storage.get("Drives") or ()
        ]
        for chassis in (system.get("Links") or {}).get("Chassis") or ():
            found = self._client.find(chassis["@odata.id"]) or {}
            links += [drive["@odata.id"] for drive in (found.get("Links") or {}).get("Drives") or ()]
        serials: set[str] = set()
        for link in dict.fromkeys(links):
            item = self._client.get(link)
            serial = _text(item.get("SerialNumber"))
            if serial is None or serial not in serials:
                serials.add(serial or "")
                yield Drive(serial, _text(item.get("Model")), item.get("CapacityBytes"))

    def _nics(self, system: Mapping[str, Any]) -> Iterator[Nic]:
        seen: set[str] = set()
        for item in self._linked(system, "EthernetInterfaces"):
            mac = _text(item.get("PermanentMACAddress") or item.get("MACAddress"))
            if mac and mac.lower() not in seen:
                seen.add(mac.lower())
                yield Nic(mac.lower().replace("-", ":"), _text(item.get("LinkStatus")))

    # -- power

    def power_state(self) -> str:
        """ "On", "Off", "PoweringOn" or "PoweringOff"."""
        return self.power_and_reset()[0]

    def power_and_reset(self) -> tuple[str, float | None]:
        """The power state, and when the system was last reset or switched on (`LastResetTime`): seconds since
        1970 by the BMC's own clock, None where it does not tell.
        """
        system = self._system()
        state, at = _text(system.get("PowerState")), _text(system.get("LastResetTime"))
        if state is None:
            raise RedfishError(f"{self.where} does not tell its power state")
        try:
            return state, datetime.fromisoformat(at).timestamp() if at else None
        except ValueError:
            return state, None

    def resets(self) -> tuple[str, ...]:
        """The resets that it offers; empty where it does not tell."""
        return tuple(self._allowed(self._reset(self._system()), "ResetType"))

    def _reset(self, system: Mapping[str, Any]) -> Mapping[str, Any]:
        action: Mapping[str, Any] = (system.get("Actions") or {}).get("#ComputerSystem.Reset") or {}
        if "target" not in action:
            raise RedfishError(f"{self.where} offers no reset of its system")
        return action

    def power(self, reset_type: str) -> None:
        """Send one reset, of a type that the BMC allows; nothing is sent where its end is already so.

        On and ForceOff are idempotent, so a caller may repeat them. The others are sent exactly once.
        """
        system = self._system()
        wanted = _WANTED.get(reset_type)
        if wanted is not None and system.get("PowerState") == wanted:
            return
        action = self._reset(system)
        allowed = self._allowed(action, "ResetType")
        if allowed and reset_type not in allowed:
            raise RedfishError(
                f"{self.where} does not offer the reset {reset_type}: it offers {', '.join(allowed)}"
            )
        try:
            self._client.post(action["target"], {"ResetType": reset_type})
        except RedfishError as error:
            if wanted is None or error.status not in (400, 409) or self.power_state() != wanted:
                raise

    def wait_power(self, state: str, deadline: float) -> float:
        """Wait until the power state is `state`, at most `deadline` seconds; the seconds that it took.

        A BMC that is silent for a while is asked again. Raises `DeadlineError`.
        """
        begin = time.monotonic()
        last = "no answer"
        while True:
            try:
                last = self.power_state()
            except UnreachableError as error:
                last = str(error)
            waited = time.monotonic() - begin
            if last == state:
                return waited
            if waited >= deadline:
                raise DeadlineError(
                    f"{self.where} was to be {state} within {deadline:g} s,"
                    f" but after {waited:.0f} s it is: {last}"
                )
            time.sleep(min(_POLL_S, deadline - waited))

    def lockout(self) -> int:
        """After how many wrong passwords it locks an account; 0: never, or it does not tell."""
        link = (self._client.root().get("AccountService") or {}).get("@odata.id")
        service = self._client.find(link) if link else None
        return int((service or {}).get("AccountLockoutThreshold") or 0)

    # -- boot device and virtual CD

    def boot_once(self, target: str = "Cd") -> str:
        """Boot from `target` at the next start, by UEFI; returns what the BMC then says ("Once" or
        "Continuous").
        """
        system = self._system()
        boot = system.get("Boot") or {}
        allowed = boot.get("BootSourceOverrideTarget@Redfish.AllowableValues") or []
        if allowed and target not in allowed:
            raise RedfishError(f"{self.where} cannot boot from {target}: it offers {', '.join(allowed)}")
        wanted = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target}
        if boot.get("BootSourceOverrideMode") not in (None, "UEFI"):
            wanted["BootSourceOverrideMode"] = "UEFI"
        self._client.patch(system["@odata.id"], {"Boot": wanted})
        boot = self._system().get("Boot") or {}
        now, enabled = boot.get("BootSourceOverrideTarget"), str(boot.get("BootSourceOverrideEnabled"))
        if now != target or enabled == "Disabled":
            raise RedfishError(
                f"{self.where} was told to boot once from {target}, but says {now} ({enabled})"
            )
        return enabled

    def insert_media(self, url: str) -> None:
        """Put the image at `url` into the virtual CD; another image in it is taken out first."""
        medium = self._medium()
        if _inserted(medium) and medium.get("Image") == url:
            return
        if _inserted(medium):
            self.eject_media()
        action = (medium.get("Actions") or {}).get("#VirtualMedia.InsertMedia") or {}
        # Image alone: Supermicro refuses the optional Inserted and WriteProtected, whose defaults we want
        # anyway.
        if "target" in action:
            self._client.post(action["target"], {"Image": url}, timeout=INSERT_S)
        else:
            self._client.patch(medium["@odata.id"], {"Image": url, "Inserted": True})
        self._wait_medium(True, INSERT_S)

    def eject_media(self) -> None:
        """Take the image out of the virtual CD; nothing happens where there is none."""
        medium = self._medium()
        if not _inserted(medium):
            return
        action = (medium.get("Actions") or {}).get("#VirtualMedia.EjectMedia") or {}
        if "target" in action:
            self._client.post(action["target"], {})
        else:
            self._client.patch(medium["@odata.id"], {"Image": None, "Inserted": False})
        self._wait_medium(False, 60.0)

    def media_image(self) -> str | None:
        """URL or name of the image in the virtual CD; None where it is empty."""
        medium = self._medium()
        return _text(medium.get("Image")) or "unnamed" if _inserted(medium) else None

    def _wait_medium(self, inserted: bool, deadline: float) -> None:
        begin = time.monotonic()
        while _inserted(self._medium()) is not inserted:
            if time.monotonic() - begin > deadline:
                verb = "insert" if inserted else "eject"
                raise DeadlineError(f"{self.where} did not {verb} the virtual CD within {deadline:g} s")
            time.sleep(_POLL_S)

    def _medium(self) -> dict[str, Any]:
        system = self._system()
        for owner in (self._manager() or {}, system):
            for medium in self._linked(owner, "VirtualMedia"):
                kinds = medium.get("MediaTypes") or [medium.get("Id", "")]
                if any(kind.upper().startswith(("CD", "DVD")) for kind in kinds):
                    return medium
        raise RedfishError(
            f"{self.where} offers no virtual CD (is its out-of-band licence active? PF-BMC-LIC)"
        )

    # -- clock and log

    def clock_offset(self) -> float | None:
        """BMC clock minus ours in seconds, to `CLOCK_RESOLUTION_S`; None where the BMC does not tell its
        time.
        """
        path = self._manager_path
        before = time.time()
        told = _text((self._client.find(path) or {}).get("DateTime")) if path else None
        middle = (before + time.time()) / 2
        if told is None:
            return None
        try:
            there = datetime.fromisoformat(told)
        except ValueError:
            raise RedfishError(f"{self.where} tells a time that is none: {told!r}") from None
        if there.tzinfo is None:
            return None  # a local time without its zone tells nothing
        return round(there.timestamp() + CLOCK_RESOLUTION_S / 2 - middle, 1)

    def log_entries(self) -> tuple[LogEntry, ...] | None:
        """Entries of the event logs, at most 500 each; None where the BMC has no log service."""
        system = self._system()
        services = [
            s for owner in (self._manager() or {}, system) for s in self._linked(owner, "LogServices")
        ]
        if not services:
            return None
        entries = (
            LogEntry(_text(item.get("Created")), _text(item.get("Severity")), str(item.get("Message") or ""))
            for service in services
            if "Entries" in service
            for item in islice(self._client.members(service["Entries"]["@odata.id"]), _LOG_LIMIT)
        )
        return tuple(entries)

    # -- links

    @cached_property
    def _system_path(self) -> str:
        """The one system; of several, the one with the ordered serial number or name."""
        collection = self._client.root().get("Systems")
        found = list(self._client.members(collection["@odata.id"])) if collection else []
        if len(found) > 1:
            wanted = {self.spec.serial, self.spec.name}
            found = [s for s in found if wanted & {s.get("SerialNumber"), s.get("Name"), s.get("HostName")}]
        if len(found) != 1:
            raise RedfishError(
                f"{self.where} shows {len(found)} systems that may be {self.spec.name}: expected one"
            )
        return str(found[0]["@odata.id"])

    @cached_property
    def _manager_path(self) -> str | None:
        managed = (self._system().get("Links") or {}).get("ManagedBy") or ()
        if managed:
            return str(managed[0]["@odata.id"])
        collection = self._client.root().get("Managers")
        found = list(self._client.members(collection["@odata.id"])) if collection else []
        return str(found[0]["@odata.id"]) if len(found) == 1 else None

    def _system(self) -> dict[str, Any]:
        return self._client.get(self._system_path)

    def _manager(self) -> dict[str, Any] | None:
        return self._client.find(self._manager_path) if self._manager_path else None

    def _linked(self, owner: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
        link = (owner.get(key) or {}).get("@odata.id")
        return self._client.members(link) if link else iter(())

    def _allowed(self, action: Mapping[str, Any], parameter: str) -> list[str]:
        told = action.get(f"{parameter}@Redfish.AllowableValues")
        if told is None and "@Redfish.ActionInfo" in action:
            info = self._client.find(action["@Redfish.ActionInfo"]) or {}
            named = [p for p in info.get("Parameters") or () if p.get("Name") == parameter]
            told = named[0].get("AllowableValues") if named else None
        return list(told or ())


def _inserted(medium: Mapping[str, Any]) -> bool:
    """After an eject some boards keep the image's name, but say that nothing is connected."""
    return bool(medium.get("Inserted")) and medium.get("ConnectedVia") != "NotConnected"


def _text(value: object) -> str | None:
    """A text that says something: BMCs write None, "", "N/A" and "To be filled by O.E.M." for what they do
    not know.
    """
    text = str(value).strip() if value is not None else ""
    return None if text.lower() in {"", "n/a", "none", "unknown", "to be filled by o.e.m.", "null"} else text
