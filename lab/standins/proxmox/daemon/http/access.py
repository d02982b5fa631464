"""Who asks, and may they: tickets, API tokens, CSRF, privileges."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import unquote

from ..config import users
from . import passwords, tickets
from .errors import ApiError
from .machine import Machine
from .registry import Check, Endpoint

TOKENS = "/etc/pve/priv/token.cfg"


@dataclass(frozen=True)
class Identity:
    """`user` is `name@realm`, with `!token` behind it where a token was shown."""

    user: str
    by_token: bool = False


def identify(machine: Machine, headers: Mapping[str, str], method: str) -> Identity:
    """Who sent a request with these headers (names in lower case). ApiError 401 otherwise."""
    authorization = headers.get("authorization", "")
    if authorization.startswith("PVEAPIToken"):
        return _by_token(machine, authorization.removeprefix("PVEAPIToken").lstrip("= "))
    ticket = _cookie(headers.get("cookie", ""))
    if not ticket:
        raise ApiError(401, "No ticket")
    user = tickets.owner(machine, ticket)
    if user is None or not users.read(machine).enabled(user):
        raise ApiError(401, "Authentication failed!")
    if method != "GET" and not tickets.csrf_holds(machine, user, headers.get("csrfpreventiontoken", "")):
        raise ApiError(401, "Permission denied - invalid csrf token")
    return Identity(user)


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get("PVEAuthCookie")
    except CookieError:
        return ""
    return unquote(found.value) if found else ""


def _by_token(machine: Machine, text: str) -> Identity:
    name, _, value = text.partition("=")
    for line in machine.read(TOKENS).splitlines():
        known, _, secret = line.partition(" ")
        if known == name and secret and hmac.compare_digest(secret.strip(), value):
            found = users.read(machine)
            token = found.tokens.get(name)
            expired = token and token.expire and token.expire < time.time()
            if token and not expired and found.enabled(name.partition("!")[0]):
                return Identity(name, by_token=True)
    raise ApiError(401, "Authentication failed!")


def authorize(machine: Machine, endpoint: Endpoint, who: Identity, path: Mapping[str, str]) -> None:
    """ApiError 403 where the caller may not use the endpoint."""
    if who.by_token and not endpoint.tokens:
        text = f"(URI '{endpoint.path}' not available with API token, need proper ticket."
        raise ApiError(403, f"Permission check failed {text}")
    if who.user == "root@pam" or endpoint.permissions in ("all", "world"):
        return
    if endpoint.permissions is None or endpoint.root_only:
        raise ApiError(403, "Permission check failed (user != root@pam)")
    assert isinstance(endpoint.permissions, Check)
    require(machine, who.user, endpoint.permissions, path)


def require(machine: Machine, user: str, wanted: Check, path: Mapping[str, str]) -> None:
    """ApiError 403 in PVE's words unless the user has what is wanted."""
    place = wanted.path.format_map(dict(path))
    mine = users.privileges(users.read(machine), user, place)
    enough = all if wanted.every else any
    if not enough(privilege in mine for privilege in wanted.privileges):
        names = "|".join(wanted.privileges) if not wanted.every else ", ".join(wanted.privileges)
        raise ApiError(403, f"Permission check failed ({place}, {names})")


def login(machine: Machine, user: str, password: str) -> bool:
    """Whether the user exists, is enabled and has this password (or a valid ticket in its place)."""
    if not users.read(machine).enabled(user):
        return False
    if password.startswith("PVE:"):
        return tickets.owner(machine, password) == user
    return passwords.check(machine, user, password)
