"""/etc/pve/user.cfg: users, groups, tokens, roles and who may do what (PVE::AccessControl)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from ..http.machine import Machine
from .locks import cfs_lock
from .roles import ROLES

PATH = "/etc/pve/user.cfg"
_T = TypeVar("_T")


@dataclass
class User:
    """`expire` in seconds since 1970, 0 = never."""

    enable: bool = True
    expire: int = 0
    firstname: str = ""
    lastname: str = ""
    email: str = ""
    comment: str = ""
    keys: str = ""


@dataclass
class Token:
    expire: int = 0
    privsep: bool = True
    comment: str = ""


@dataclass(frozen=True)
class Acl:
    """One subject's role on one path; `kind` is user, group or token, `subject` without the group's @."""

    path: str
    kind: str
    subject: str
    role: str
    propagate: bool


@dataclass
class Users:
    """The whole file. root@pam is always there."""

    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    groups: dict[str, tuple[list[str], str]] = field(default_factory=dict)
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pools: list[str] = field(default_factory=list)
    acls: list[Acl] = field(default_factory=list)

    def role(self, name: str) -> tuple[str, ...] | None:
        return ROLES.get(name, self.roles.get(name))

    def enabled(self, user: str) -> bool:
        """Whether the user exists, is enabled and not expired."""
        found = self.users.get(user)
        return bool(found and found.enable and (not found.expire or found.expire > time.time()))


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", text) if word]


def parse(text: str) -> Users:
    """Lines that are not understood are left out, as PVE does (it warns)."""
    found = Users(users={"root@pam": User()})
    readers: dict[str, Callable[[Users, list[str]], None]] = {
        "user": _user, "token": _token, "group": _group, "role": _role, "acl": _acl,
    }  # fmt: skip
    for line in text.splitlines():
        kind, _, rest = line.strip().partition(":")
        if kind == "pool":
            found.pools.append(line.strip())
        elif kind in readers:
            readers[kind](found, [*rest.split(":"), *[""] * 8])
    return found


def _user(found: Users, part: list[str]) -> None:
    if part[0]:
        expire = int(part[2]) if part[2].isdigit() else 0
        found.users[part[0]] = User(part[1] == "1", expire, *part[3:8])


def _token(found: Users, part: list[str]) -> None:
    if "!" in part[0]:
        found.tokens[part[0]] = Token(int(part[1]) if part[1].isdigit() else 0, part[2] == "1", part[3])


def _group(found: Users, part: list[str]) -> None:
    found.groups[part[0]] = (_words(part[1]), part[2])


def _role(found: Users, part: list[str]) -> None:
    found.roles[part[0]] = tuple(sorted(_words(part[1])))


def _acl(found: Users, part: list[str]) -> None:
    for subject in _words(part[2]):
        kind = "group" if subject.startswith("@") else "token" if "!" in subject else "user"
        for role in _words(part[3]):
            found.acls.append(Acl(part[1], kind, subject.removeprefix("@"), role, part[0] == "1"))


def render(users: Users) -> str:
    """The file's text, in PVE's order."""
    lines = []
    for name, user in sorted(users.users.items()):
        names = f"{user.firstname}:{user.lastname}:{user.email}:{user.comment}:{user.keys}"
        lines.append(f"user:{name}:{user.enable:d}:{user.expire}:{names}:")
        for token, one in sorted(users.tokens.items()):
            if token.rpartition("!")[0] == name:
                lines.append(f"token:{token}:{one.expire}:{one.privsep:d}:{one.comment}:")
    lines.append("")
    lines += [f"group:{name}:{','.join(who)}:{text}:" for name, (who, text) in sorted(users.groups.items())]
    lines += ["", *users.pools, ""]
    lines += [f"role:{name}:{','.join(privileges)}:" for name, privileges in sorted(users.roles.items())]
    lines.append("")
    grouped: dict[tuple[str, str, bool], list[str]] = {}
    for acl in users.acls:
        subject = f"@{acl.subject}" if acl.kind == "group" else acl.subject
        grouped.setdefault((acl.path, acl.role, acl.propagate), []).append(subject)
    for (path, role, propagate), subjects in sorted(grouped.items()):
        lines.append(f"acl:{propagate:d}:{path}:{','.join(sorted(set(subjects)))}:{role}:")
    return "\n".join(lines) + "\n"


def read(machine: Machine) -> Users:
    return parse(machine.read(PATH))


def change(machine: Machine, change: Callable[[Users], _T]) -> _T:
    """Change the file under its cluster-wide lock."""
    with cfs_lock(machine, "file-user_cfg"):
        users = read(machine)
        answer = change(users)
        machine.write(PATH, render(users))
    return answer


def _parents(path: str) -> Iterable[str]:
    """`/a/b`: /, /a, /a/b."""
    yield "/"
    parts = [part for part in path.split("/") if part]
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])


def _roles(users: Users, subject: str, path: str) -> set[str]:
    """Roles on the path: the nearest entry wins, a user's own over the groups'."""
    is_token = "!" in subject
    groups = [] if is_token else [name for name, (who, _) in users.groups.items() if subject in who]
    roles: set[str] = set()
    for place in _parents(path):
        here = [acl for acl in users.acls if acl.path == place and (acl.propagate or place == path)]
        own = {a.role for a in here if a.kind == ("token" if is_token else "user") and a.subject == subject}
        shared = {a.role for a in here if a.kind == "group" and a.subject in groups}
        roles = own or shared or roles
    return set() if "NoAccess" in roles else roles


def privileges(users: Users, subject: str, path: str) -> set[str]:
    """What a user or token may do at an ACL path. A token with privsep has what both it and its user have."""
    user = subject.partition("!")[0]
    token = users.tokens.get(subject) if "!" in subject else None
    if not users.enabled(user) or ("!" in subject and token is None):
        return set()
    if user == "root@pam":
        mine = set(ROLES["Administrator"])
    else:
        mine = {p for role in _roles(users, user, path) for p in users.role(role) or ()}
    if token and token.privsep:
        mine &= {p for role in _roles(users, subject, path) for p in users.role(role) or ()}
    return mine
