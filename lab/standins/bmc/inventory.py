"""What the BMC knows of its server's parts: identity, drives in bays, links. Read anew at every request."""

from __future__ import annotations

from typing import Any

from lab import domain, physical
from lab.paths import State
from lab.rack import PORTS, Drive, Rack, Server

CONTROLLER = "NVMe"
GIB = 1 << 30


class Inventory:
    """Redfish resources of one server's parts."""

    def __init__(self, rack: Rack, state: State, server: Server) -> None:
        self._rack, self._state, self._server = rack, state, server
        self._base = f"/redfish/v1/Systems/{server.uuid}"

    def identity(self) -> dict[str, str]:
        """What stands on the nameplate."""
        return {
            "Manufacturer": self._rack.servers.manufacturer,
            "Model": self._rack.servers.model,
            "SerialNumber": self._server.serial,
            "HostName": "",
        }

    def drives(self) -> list[Drive]:
        """The drives that are in their bays."""
        now = physical.read(self._state)
        return [
            drive for drive in self._rack.drives(self._server) if now.in_bay(self._server.name, drive.serial)
        ]

    def storage(self) -> dict[str, Any]:
        """The one storage subsystem: NVMe bays."""
        here = f"{self._base}/Storage/{CONTROLLER}"
        drives = [{"@odata.id": f"{here}/Drives/{drive.serial}"} for drive in self.drives()]
        return {
            "@odata.type": "#Storage.v1_7_0.Storage",
            "@odata.id": here,
            "Id": CONTROLLER,
            "Name": "NVMe drive bays",
            "Status": {"State": "Enabled", "Health": "OK"},
            "StorageControllers": [],
            "Drives": drives,
            "Drives@odata.count": len(drives),
        }

    def storage_collection(self) -> dict[str, Any]:
        return {
            "@odata.type": "#StorageCollection.StorageCollection",
            "@odata.id": f"{self._base}/Storage",
            "Name": "Storage",
            "Members@odata.count": 1,
            "Members": [{"@odata.id": f"{self._base}/Storage/{CONTROLLER}"}],
        }

    def drive(self, serial: str) -> dict[str, Any] | None:
        """A drive by serial number; None when no such drive is in a bay."""
        for drive in self.drives():
            if drive.serial == serial:
                return {
                    "@odata.type": "#Drive.v1_4_0.Drive",
                    "Id": serial,
                    "Name": f"Bay {drive.bay}",
                    "@odata.id": f"{self._base}/Storage/{CONTROLLER}/Drives/{serial}",
                    "SerialNumber": serial,
                    "Model": "QEMU NVMe Ctrl",
                    "CapacityBytes": drive.gib * GIB,
                    "Protocol": "NVMe",
                    "MediaType": "SSD",
                    "BlockSizeBytes": 512,
                    "PhysicalLocation": {
                        "PartLocation": {"LocationType": "Bay", "LocationOrdinalValue": drive.bay}
                    },
                    "Status": {"State": "Enabled", "Health": "OK"},
                    "FailurePredicted": False,
                }
        return None

    def link(self, mac: str) -> dict[str, Any]:
        """Link state of a port: the carrier that hands and switches leave it."""
        for port in PORTS:
            if self._server.mac(port) == mac:
                up = physical.read(self._state).link_up(self._server.tap(port))
                return {
                    "LinkStatus": "LinkUp" if up else "LinkDown",
                    "FullDuplex": True,
                    "SpeedMbps": domain.SPEED_MBIT[port],
                    "Description": port,
                }
        return {}
