"""From the sections that gather.sh printed on a node to the values of system.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provisioners.base_install.system import (
    BootEntry,
    Clock,
    Drive,
    Interface,
    Key,
    Mirror,
    MirrorLeg,
    ParameterAccess,
    Repository,
    System,
)


def parse(sections: Mapping[str, str]) -> System:
    """The system that the sections of gather.sh describe. A section that a node did not fill gives empty
    values.
    """
    get = _Sections(sections)
    os_release = _assignments(get("os"))
    nameservers, search = _resolver(get("resolver"))
    cpu = {str(e.get("field", "")).rstrip(":"): str(e.get("data", "")) for e in _lscpu(_json(get("cpu")))}
    efi = _efi(get("efi"))
    default = _json(get("routes")) or []
    return System(
        hostname=get("hostname"),
        fqdn=get("fqdn"),
        os=os_release,
        kernel=get("kernel"),
        pveversion=get("pveversion").split("\n")[0],
        timezone=get("timezone").partition("/zoneinfo/")[2].removeprefix("Etc/"),
        interfaces=interfaces(_json(get("addresses")) or []),
        gateway=str(default[0].get("gateway", "")) if default else "",
        nameservers=nameservers,
        search=search,
        memory=int(get("memory") or 0) * 1024,
        threads=int(cpu.get("CPU(s)") or 0),
        sockets=int(cpu.get("Socket(s)") or 0),
        drives=_drives(_json(get("disks")) or {}, get("esp"), get("signatures")),
        mirror=_mirror(get, _json(get("disks")) or {}),
        boot_current=efi[0],
        boot_order=efi[1],
        boot_entries=efi[2],
        clock=_clock(get("chrony_tracking"), get("chrony_sources")),
        sshd=_words(get("sshd")),
        sshd_dropins=tuple(get("sshd_dropins").splitlines()),
        keys=_keys(get("authorized_keys")),
        host_key=" ".join(get("host_key").split()[:2]),
        repositories=_repositories(get("repositories")),
        packages=frozenset(w[1] for x in get("packages").splitlines() if (w := x.split())[0] == "ii"),
        resolves=_resolves(get("resolves")),
        files=_files(get("files")),
        parameter=_parameter(get("parameter")),
    )


class _Sections:
    def __init__(self, sections: Mapping[str, str]) -> None:
        self._sections = sections

    def __call__(self, name: str) -> str:
        return self._sections.get(name, "").strip()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') for key, _, value in pairs}


def _words(text: str) -> dict[str, str]:
    """`key the rest` a line; the first line of a key wins, as in sshd."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key.lower(), value.strip())
    return found


def _lscpu(value: Any) -> list[dict[str, Any]]:
    """lscpu's JSON is flat or nested, by version: all entries with their children."""
    rows = list(value.get("lscpu", [])) if isinstance(value, dict) else []
    flat: list[dict[str, Any]] = []
    for row in rows:  # rows grows while it is walked: children follow their parents
        flat.append(row)
        rows.extend(row.get("children", []))
    return flat


def _resolver(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            nameservers.append(words[1])
        elif words[:1] in (["search"], ["domain"]):
            search = tuple(words[1:])
    return tuple(nameservers), search


def interfaces(rows: list[dict[str, Any]]) -> tuple[Interface, ...]:
    """Interfaces as `ip -j -d address show` lists them."""
    return tuple(
        Interface(
            name=str(row.get("ifname", "")),
            mac=str(row.get("permaddr") or row.get("address") or "").lower(),
            up=str(row.get("operstate", "")).upper() == "UP" or "LOWER_UP" in row.get("flags", []),
            mtu=int(row.get("mtu", 0)),
            addresses=tuple(
                f"{a['local']}/{a['prefixlen']}"
                for a in row.get("addr_info", [])
                if a.get("family") == "inet"
            ),
        )
        for row in rows
    )


def _drives(tree: Mapping[str, Any], esp: str, signatures: str) -> tuple[Drive, ...]:
    loaders: dict[str, list[tuple[str, str]]] = {}
    for line in esp.splitlines():
        partition, digest, path = [*line.split(None, 2), "", ""][:3]
        loaders.setdefault(partition, []).append((path.removeprefix("./"), digest))
    found = {w[0]: _found(w[1:]) for line in signatures.splitlines() if (w := line.split(None, 2))}
    drives = []
    for disk in tree.get("blockdevices", []):
        if disk.get("type") != "disk":
            continue
        parts = disk.get("children") or []
        path = str(disk.get("path"))
        drives.append(
            Drive(
                path=path,
                serial=str(disk.get("serial") or "").strip(),
                model=str(disk.get("model") or "").strip(),
                size=int(disk.get("size") or 0),
                fstype=str(disk.get("fstype") or ""),
                pttype=str(disk.get("pttype") or ""),
                partitions=tuple(str(part.get("path")) for part in parts),
                mounted=_mounted(disk),
                loaders=tuple(sorted(x for part in parts for x in loaders.get(str(part.get("path")), []))),
                found=found.get(path, ""),
            )
        )
    return tuple(drives)


def _found(words: list[str]) -> str:
    """`blank`, or `data` and what wipefs told: the kinds of signatures, or just "data"."""
    signatures = (_json(words[1]) or {}).get("signatures", []) if len(words) > 1 else []
    kinds = dict.fromkeys(str(s.get("type")) for s in signatures)
    return ", ".join(kinds) or ("data" if words[:1] == ["data"] else "")


def _mounted(device: Mapping[str, Any]) -> bool:
    own = any(device.get("mountpoints") or [])
    return own or any(_mounted(child) for child in device.get("children") or [])


def _serial_of(tree: Mapping[str, Any], path: str) -> str:
    """Serial number of the drive on which a device stands."""
    for disk in tree.get("blockdevices", []):
        if path in {str(disk.get("path")), *(str(c.get("path")) for c in disk.get("children") or [])}:
            return str(disk.get("serial") or "").strip()
    return ""


def _mirror(get: _Sections, tree: Mapping[str, Any]) -> Mirror:
    root = ((_json(get("root")) or {}).get("filesystems") or [{}])[0]
    kind = str(root.get("fstype", ""))
    if kind == "zfs":
        return _zfs(_json(get("zpool")) or {}, str(root.get("source", "")).split("/")[0], tree)
    if kind != "btrfs":
        return Mirror(kind, (), (), 0)
    uuid = str(root.get("uuid"))
    lines = [words for line in get("btrfs").splitlines() if (words := line.split())[1:2] == [uuid]]
    errors = sum(int(line[4]) for line in lines if line[0] == "errors" and len(line) == 5)
    paths = [f"/dev/{line[2]}" for line in lines if line[0] == "device"]
    absent = sum(1 for line in lines if line[0] == "missing" and line[3:] == ["1"])
    profiles = tuple(sorted({line[3] for line in lines if line[0] == "profile"}))
    # The counters are kept by device number, which sysfs does not tie to a name: each leg bears their sum.
    return Mirror(
        kind, tuple(MirrorLeg(p, _serial_of(tree, p), True, errors) for p in paths), profiles, absent
    )


def _zfs(status: Mapping[str, Any], pool: str, tree: Mapping[str, Any]) -> Mirror:
    legs: list[MirrorLeg] = []
    profiles: set[str] = set()
    found = (status.get("pools") or {}).get(pool) or {}
    pending: list[Mapping[str, Any]] = list((found.get("vdevs") or {}).values())
    for vdev in pending:  # grows while it is walked
        children = list((vdev.get("vdevs") or {}).values())
        pending.extend(children)
        if children and vdev.get("vdev_type") != "root":
            profiles.add(str(vdev.get("vdev_type")))
        if not children:
            path = str(vdev.get("path") or vdev.get("name") or "")
            count = sum(int(vdev.get(f"{k}_errors") or 0) for k in ("read", "write", "checksum"))
            legs.append(MirrorLeg(path, _serial_of(tree, path), vdev.get("state") == "ONLINE", count))
    return Mirror("zfs", tuple(legs), tuple(sorted(profiles)), sum(1 for leg in legs if not leg.online))


def _efi(text: str) -> tuple[str, tuple[str, ...], tuple[BootEntry, ...]]:
    current = ""
    order: tuple[str, ...] = ()
    entries: list[BootEntry] = []
    for line in text.splitlines():
        if line.startswith("BootCurrent:"):
            current = line.split()[1]
        elif line.startswith("BootOrder:"):
            order = tuple(line.split()[1].split(","))
        elif line.startswith("Boot") and line[4:8].strip() and line[8:9] in {"*", " "}:
            label, _, path = line[10:].partition("\t")
            entries.append(BootEntry(line[4:8], line[8] == "*", label.strip(), path.strip()))
    return current, order, tuple(entries)


def _clock(tracking: str, sources: str) -> Clock:
    fields = tracking.split(",")
    rows = [line.split(",") for line in sources.splitlines()]
    seen = tuple((row[2], row[1]) for row in rows if len(row) > 3)
    if len(fields) < 14:
        return Clock(False, 0.0, 0, seen)
    return Clock(
        synchronised=fields[-1] != "Not synchronised" and fields[2] not in {"0", "16"},
        offset_s=float(fields[4]),
        stratum=int(fields[2]),
        sources=seen,
    )


def _keys(text: str) -> tuple[Key, ...]:
    keys = []
    for line in text.splitlines():  # 256 SHA256:... comment (ED25519)
        words = line.split()
        if len(words) >= 3 and words[0].isdigit():
            keys.append(Key(words[-1].strip("()"), int(words[0]), words[1]))
    return tuple(keys)


def _repositories(text: str) -> tuple[Repository, ...]:
    found: list[Repository] = []
    for part in text.split("### ")[1:]:
        name, _, body = part.partition("\n")
        found.extend(_deb822(name, body) if name.endswith(".sources") else _one_line(name, body))
    return tuple(found)


def _deb822(name: str, body: str) -> list[Repository]:
    found = []
    for stanza in body.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t" and key:
                fields[key] += f" {line.strip()}"
            else:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if "uris" not in fields:
            continue
        enabled = fields.get("enabled", "yes").lower() not in {"no", "false", "0"}
        for uri in fields["uris"].split():
            for suite in fields.get("suites", "").split():
                components = tuple(fields.get("components", "").split())
                found.append(Repository(name, uri, suite, components, enabled))
    return found


def _one_line(name: str, body: str) -> list[Repository]:
    found = []
    for line in body.splitlines():
        words = line.split("#")[0].split()
        if words[:1] != ["deb"]:
            continue
        rest = words[1:]
        if rest and rest[0].startswith("["):
            end = next((i for i, word in enumerate(rest) if word.endswith("]")), 0)
            rest = rest[end + 1 :]
        if len(rest) >= 2:
            found.append(Repository(name, rest[0], rest[1], tuple(rest[2:]), True))
    return found


def _resolves(text: str) -> dict[str, str]:
    """getent's first line of each name: address, STREAM, name."""
    rows = (line.split() for line in text.splitlines())
    return {row[2]: row[0] for row in rows if len(row) == 3 and row[1] == "STREAM"}


def _files(text: str) -> dict[str, str]:
    """`SHA-256 mode` by path, from lines of sha256sum and of stat."""
    rows = [line.split(None, 2) for line in text.splitlines()]
    modes = {row[2]: row[1] for row in rows if row[0] == "mode" and len(row) == 3}
    return {row[1]: f"{row[0]} {modes.get(row[1], '?')}" for row in rows if len(row) == 2}


def _parameter(text: str) -> ParameterAccess:
    words = _words(text)
    return ParameterAccess(
        value=words.get("value", ""),
        short_lived=words.get("credentials", "") == "short-lived",
        until=words.get("until", ""),
        problem=""
        if "value" in words
        else (words.get("problem", "") or "the node has no means to read parameters"),
    )
