"""Interface names of Comware: long, short, abbreviated and with a blank before the number."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The short forms of the 200G and 400G kinds were not read on a 5960.
_SHORT = {
    "FourHundredGigE": "FourHGE",
    "TwoHundredGigE": "TwoHGE",
    "HundredGigE": "HGE",
    "Ten-GigabitEthernet": "XGE",
    "Bridge-Aggregation": "BAGG",
}
_SPEED_MBPS = {"FourHundredGigE": 400_000, "TwoHundredGigE": 200_000, "HundredGigE": 100_000}
_NUMBER = re.compile(r"\d+(/\d+)*(:\d+)?$")


def split(name: str) -> tuple[str, str]:
    """`TwoHundredGigE1/0/1` -> (`TwoHundredGigE`, `1/0/1`); the number is empty when there is none."""
    found = _NUMBER.search(name)
    return (name[: found.start()], found.group()) if found else (name, "")


def short(name: str) -> str:
    """The form of tables: `TwoHGE1/0/1`."""
    kind, number = split(name)
    return _SHORT.get(kind, kind) + number


def speed_mbps(name: str) -> int:
    """Speed of a port's kind in Mbit/s; 0 when unknown."""
    return _SPEED_MBPS.get(split(name)[0], 0)


def find(typed: str, known: Iterable[str]) -> str | None:
    """The one interface that was meant, in any of its forms, upper or lower case; None when there is none."""
    kind, number = split(typed.replace(" ", ""))
    kind = kind.lower()
    matches = []
    for name in known:
        long_kind, long_number = split(name)
        if number != long_number or not kind:
            continue
        if kind == _SHORT.get(long_kind, "").lower():
            return name
        if long_kind.lower().startswith(kind):
            matches.append(name)
    return matches[0] if len(matches) == 1 else None


def is_kind(word: str) -> bool:
    """Whether a word alone is the kind of an interface, its number coming as the next word."""
    return any(
        (kind.lower().startswith(word.lower()) and len(word) > 2) or short_form.lower() == word.lower()
        for kind, short_form in _SHORT.items()
    )


def mac(address: str) -> str:
    """`52:54:00:01:00:00` -> `5254-0001-0000`."""
    digits = address.replace(":", "").replace("-", "").lower()
    return "-".join(digits[start : start + 4] for start in (0, 4, 8))


def vlan_ranges(vlans: Iterable[int]) -> list[str]:
    """Sorted ids, runs joined: [`1-6`, `20`]."""
    ranges: list[list[int]] = []
    for vlan in sorted(vlans):
        if ranges and vlan == ranges[-1][1] + 1:
            ranges[-1][1] = vlan
        else:
            ranges.append([vlan, vlan])
    return [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
