"""/access/users, tokens and ACLs: /etc/pve/user.cfg and the secrets beside it."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from ..config import users
from ..config.locks import cfs_lock
from ..config.users import Acl, Token, User, Users
from ..http import access, passwords
from ..http.access import TOKENS
from ..http.machine import Machine
from ..http.parameters import split_list
from ..http.registry import ApiError, Call, ParameterError, check, endpoint

SHADOW = "/etc/pve/priv/shadow.cfg"
_TEXT = {"type": "string", "optional": 1}
USERID = {"type": "string", "format": "pve-userid", "maxLength": 64}
TOKENID = {"type": "string", "pattern": r"[A-Za-z][A-Za-z0-9.\-_]+"}
EXPIRE = {"type": "integer", "minimum": 0, "optional": 1}
FLAG = {"type": "boolean", "optional": 1}
DETAILS = {
    "comment": {**_TEXT, "maxLength": 2048},
    "email": {**_TEXT, "maxLength": 254},
    "enable": {**FLAG, "default": 1},
    "expire": EXPIRE,
    "firstname": {**_TEXT, "maxLength": 1024},
    "lastname": {**_TEXT, "maxLength": 1024},
}
MODIFY = check("/access/groups", "User.Modify")


def _plain(params: Any) -> None:
    """user.cfg is split at colons and lines; PVE encodes them, here they are refused."""
    for name, value in params.items():
        if isinstance(value, str) and name not in ("password", "path") and set(value) & set(":\n\r"):
            raise ParameterError({name: "value may hold neither colon nor line break in the rack"})


def _details(user: User) -> dict[str, Any]:
    found: dict[str, Any] = {"enable": int(user.enable), "expire": user.expire}
    for name in ("firstname", "lastname", "email", "comment"):
        if value := getattr(user, name):
            found[name] = value
    return found


def _token(token: Token) -> dict[str, Any]:
    found: dict[str, Any] = {"privsep": int(token.privsep), "expire": token.expire}
    return {**found, "comment": token.comment} if token.comment else found


def _tokens_of(known: Users, user: str) -> dict[str, Token]:
    start = f"{user}!"
    return {
        name.removeprefix(start): one for name, one in sorted(known.tokens.items()) if name.startswith(start)
    }


def _existing(known: Users, user: str) -> User:
    if user not in known.users:
        raise ApiError(500, f"no such user ('{user}')")
    return known.users[user]


@endpoint(
    "GET",
    "/access/users",
    permissions="all",
    parameters={"enabled": FLAG, "full": {**FLAG, "default": 0}},
)
def index(call: Call) -> Any:
    """Who may not audit /access/groups sees only themselves."""
    known = users.read(call.machine)
    everything = users.privileges(known, call.user, "/access/groups") & {"User.Modify", "Sys.Audit"}
    found = []
    for name, user in sorted(known.users.items()):
        if not everything and name != call.user.partition("!")[0]:
            continue
        if "enabled" in call.params and call.params["enabled"] != user.enable:
            continue
        entry = {"userid": name, "realm-type": name.rpartition("@")[2], **_details(user)}
        if call.params["full"]:
            entry["groups"] = ",".join(group for group, (who, _) in known.groups.items() if name in who)
            entry["tokens"] = [
                {"tokenid": token, **_token(one)} for token, one in _tokens_of(known, name).items()
            ]
        found.append(entry)
    return found


@endpoint(
    "POST",
    "/access/users",
    permissions=MODIFY,
    parameters={**DETAILS, "userid": USERID, "password": {**_TEXT, "minLength": 8, "maxLength": 64}},
)
def create(call: Call) -> Any:
    name = call.params["userid"]
    password = call.params.get("password")
    if password is not None and not name.endswith("@pve"):
        raise ParameterError({"password": "only users of realm 'pve' have a password of their own here"})
    if name.rpartition("@")[2] not in ("pam", "pve"):
        raise ApiError(500, f"domain '{name.rpartition('@')[2]}' does not exist")
    _plain(call.params)

    def change(known: Users) -> None:
        if name in known.users:
            raise ApiError(500, f"create user failed: user '{name}' already exists")
        known.users[name] = _changed(User(), call.params)

    users.change(call.machine, change)
    if password is not None:
        _store_password(call.machine, name.partition("@")[0], password)


def _changed(user: User, params: Any) -> User:
    for name in DETAILS:
        if name in params:
            setattr(user, name, params[name])
    return user


def _store_password(machine: Machine, name: str, password: str) -> None:
    made = passwords.hashed(password, f"$5${secrets.token_hex(8)}")
    with cfs_lock(machine, "file-priv_shadow_cfg"):
        kept = [line for line in machine.read(SHADOW).splitlines() if line.partition(":")[0] != name]
        machine.write(SHADOW, "\n".join([*kept, f"{name}:{made}:"]) + "\n")


@endpoint("GET", "/access/users/{userid}", permissions=check("/access/groups", "User.Modify", "Sys.Audit"))
def read(call: Call) -> Any:
    known, name = users.read(call.machine), call.path["userid"]
    found = _details(_existing(known, name))
    found["groups"] = [group for group, (who, _) in known.groups.items() if name in who]
    return {**found, "tokens": {token: _token(one) for token, one in _tokens_of(known, name).items()}}


@endpoint("PUT", "/access/users/{userid}", permissions=MODIFY, parameters=DETAILS)
def update(call: Call) -> Any:
    _plain(call.params)
    users.change(call.machine, lambda known: _changed(_existing(known, call.path["userid"]), call.params))


@endpoint("DELETE", "/access/users/{userid}", permissions=MODIFY)
def delete(call: Call) -> Any:
    """With their tokens, their secrets and what they were allowed."""
    name = call.path["userid"]
    if name == "root@pam":
        raise ApiError(500, "unable to delete user 'root@pam'")

    def change(known: Users) -> None:
        _existing(known, name)
        del known.users[name]
        for token in _tokens_of(known, name):
            del known.tokens[f"{name}!{token}"]
        known.acls = [acl for acl in known.acls if acl.subject.partition("!")[0] != name]
        known.groups = {
            group: ([one for one in who if one != name], text) for group, (who, text) in known.groups.items()
        }

    users.change(call.machine, change)
    _forget_secrets(call.machine, lambda token: token.startswith(f"{name}!"))
    if name.endswith("@pve"):
        with cfs_lock(call.machine, "file-priv_shadow_cfg"):
            kept = [
                line
                for line in call.machine.read(SHADOW).splitlines()
                if line.partition(":")[0] != name.partition("@")[0]
            ]
            call.machine.write(SHADOW, "".join(f"{line}\n" for line in kept))


def _forget_secrets(machine: Machine, gone: Any, added: str = "") -> None:
    with cfs_lock(machine, "file-priv_token_cfg"):
        lines = machine.read(TOKENS).splitlines()
        kept = [line for line in lines if not gone(line.partition(" ")[0])]
        machine.write(TOKENS, "".join(f"{line}\n" for line in [*kept, *([added] if added else [])]))


def _may_tokens(call: Call) -> None:
    """A user manages their own tokens; others need User.Modify."""
    if call.user.partition("!")[0] != call.path["userid"]:
        access.require(call.machine, call.user, MODIFY, {})


@endpoint("GET", "/access/users/{userid}/token", permissions="all")
def tokens(call: Call) -> Any:
    _may_tokens(call)
    known = users.read(call.machine)
    _existing(known, call.path["userid"])
    return [{"tokenid": name, **_token(one)} for name, one in _tokens_of(known, call.path["userid"]).items()]


TOKEN = {"comment": _TEXT, "expire": EXPIRE, "privsep": {**FLAG, "default": 1}}


@endpoint("GET", "/access/users/{userid}/token/{tokenid}", permissions="all")
def token(call: Call) -> Any:
    _may_tokens(call)
    found = _tokens_of(users.read(call.machine), call.path["userid"]).get(call.path["tokenid"])
    if found is None:
        raise ApiError(500, f"no such token '{call.path['tokenid']}' for user '{call.path['userid']}'")
    return _token(found)


@endpoint("POST", "/access/users/{userid}/token/{tokenid}", permissions="all", parameters=TOKEN)
def create_token(call: Call) -> Any:
    """The secret is told only in this answer."""
    _may_tokens(call)
    _plain(call.params)
    user, short = call.path["userid"], call.path["tokenid"]
    full = f"{user}!{short}"
    made = Token(call.params.get("expire", 0), call.params["privsep"], call.params.get("comment", ""))

    def change(known: Users) -> None:
        _existing(known, user)
        if full in known.tokens:
            raise ParameterError(tokenid="Token already exists.")
        known.tokens[full] = made

    users.change(call.machine, change)
    value = str(uuid.uuid4())
    _forget_secrets(call.machine, lambda name: name == full, f"{full} {value}")
    return {"full-tokenid": full, "value": value, "info": _token(made)}


@endpoint("DELETE", "/access/users/{userid}/token/{tokenid}", permissions="all")
def delete_token(call: Call) -> Any:
    _may_tokens(call)
    full = f"{call.path['userid']}!{call.path['tokenid']}"

    def change(known: Users) -> None:
        if known.tokens.pop(full, None) is None:
            raise ApiError(500, f"no such token '{call.path['tokenid']}' for user '{call.path['userid']}'")
        known.acls = [acl for acl in known.acls if acl.subject != full]

    users.change(call.machine, change)
    _forget_secrets(call.machine, lambda name: name == full)


@endpoint("GET", "/access/acl", permissions="all")
def acls(call: Call) -> Any:
    known = users.read(call.machine)
    if not users.privileges(known, call.user, "/access") & {"Sys.Audit", "Permissions.Modify"}:
        return []
    return [
        {"path": a.path, "type": a.kind, "ugid": a.subject, "roleid": a.role, "propagate": int(a.propagate)}
        for a in known.acls
    ]


@endpoint(
    "PUT",
    "/access/acl",
    permissions=check("/access", "Permissions.Modify"),
    parameters={
        "path": {"type": "string", "pattern": r"/[^\s:]*"},
        "roles": {"type": "string"},
        "users": {**_TEXT, "format": "pve-userid-list"},
        "groups": _TEXT,
        "tokens": _TEXT,
        "propagate": {**FLAG, "default": 1},
        "delete": FLAG,
    },
)
def set_acl(call: Call) -> Any:
    path = "/" + call.params["path"].strip("/")
    subjects = [
        (kind, name)
        for kind in ("user", "group", "token")
        for name in split_list(call.params.get(f"{kind}s", ""))
    ]
    if not subjects:
        raise ParameterError(users="property is missing - either 'users', 'groups' or 'tokens' must be given")

    def change(known: Users) -> None:
        for kind, name in subjects:
            present = {"user": [*known.users], "group": [*known.groups], "token": [*known.tokens]}[kind]
            if name not in present:
                raise ApiError(500, f"{kind} '{name}' does not exist")
            for role in split_list(call.params["roles"]):
                if known.role(role) is None:
                    raise ApiError(500, f"role '{role}' does not exist")
                known.acls = [
                    a for a in known.acls if (a.path, a.kind, a.subject, a.role) != (path, kind, name, role)
                ]
                if not call.params.get("delete"):
                    known.acls.append(Acl(path, kind, name, role, call.params["propagate"]))

    users.change(call.machine, change)
