"""Who a BMC says it is: serial number and power of its system, by Redfish. Only GET, never a change.

TLS is verified, the BMC is reached directly (no proxy), redirects are not followed.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .config import Bmc
from .credentials import Credentials

_LIMIT_S = 15.0
_BYTES = 1 << 20
_SYSTEMS = "/redfish/v1/Systems"
_MEMBERS = 16


class RedfishError(Exception):
    """A BMC did not say who it is; one sentence."""


class RefusedError(RedfishError):
    """It does not accept user and password."""


@dataclass(frozen=True)
class System:
    """uri: of the system's resource. power: "On", "Off", "PoweringOn" or "PoweringOff"."""

    uri: str
    serial: str
    power: str


def identify(bmc: Bmc, credentials: Credentials, serial: str) -> System:
    """The system behind `bmc`: the ordered resource, else the one with `serial`, else the only one there is.

    The caller compares the serial number. Raises RedfishError, RefusedError.
    """
    where = f"the BMC at {bmc.address}:{bmc.port}"
    try:
        context = ssl.create_default_context(cafile=bmc.ca_file)
        connection = http.client.HTTPSConnection(bmc.address, bmc.port, timeout=_LIMIT_S, context=context)
    except (OSError, ValueError) as error:
        raise RedfishError(f"{where} cannot be verified: {bmc.ca_file}: {error}") from None
    try:
        return _find(connection, credentials, bmc.systems_uri, serial)
    except RefusedError as error:
        raise RefusedError(f"{where} {error}") from None
    except RedfishError as error:
        raise RedfishError(f"{where} {error}") from None
    except ssl.SSLError as error:
        raise RedfishError(f"{where} shows a certificate that is not trusted: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise RedfishError(f"{where} does not answer: {error or type(error).__name__}") from None
    finally:
        connection.close()


def _find(
    connection: http.client.HTTPSConnection, credentials: Credentials, uri: str | None, serial: str
) -> System:
    if uri is not None:
        return _system(uri, _get(connection, credentials, uri))
    members = _get(connection, credentials, _SYSTEMS).get("Members")
    links = members[:_MEMBERS] if isinstance(members, list) else []
    uris = [link["@odata.id"] for link in links if isinstance(link, Mapping) and "@odata.id" in link]
    found = [_system(str(member), _get(connection, credentials, str(member))) for member in uris]
    own = [system for system in found if system.serial == serial] or found
    if len(own) != 1:
        raise RedfishError(f"shows {len(found)} systems and none with serial number {serial}")
    return own[0]


def _system(uri: str, told: Mapping[str, Any]) -> System:
    return System(uri, str(told.get("SerialNumber") or "").strip(), str(told.get("PowerState") or ""))


def _get(connection: http.client.HTTPSConnection, credentials: Credentials, uri: str) -> Mapping[str, Any]:
    pair = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}", "Accept": "application/json", "OData-Version": "4.0"}
    connection.request("GET", uri, headers=headers)
    answer = connection.getresponse()
    body = answer.read(_BYTES)
    if answer.status in (401, 403):
        raise RefusedError("refuses user and password")
    if answer.status != 200:
        raise RedfishError(f"answers GET {uri} with HTTP {answer.status}")
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, Mapping):
        raise RedfishError(f"answers GET {uri} with no JSON object")
    return told
