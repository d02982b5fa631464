"""Quantities as people write them: `7.68TB`, `96GiB`, `200G`, `150 Gbit/s`, `100ms`, `100k IOPS`.

A number without a unit is refused, because no reader can know which was meant. Decimal and binary prefixes
are distinct (1 TB = 10^12 bytes, 1 TiB = 2^40 bytes; IEC 80000-13). Arithmetic is decimal: `7.68TB` is exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from cluster.errors import RackproofError


class UnitError(RackproofError, ValueError):
    """A quantity that cannot be read; the message says what was expected, starting with `expected`."""


_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([^\s0-9.,+-][^,]*?)?\s*")

_SIZES: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "PB": 10**15,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "PiB": 2**50,
}
_PREFIXES: Mapping[str, int] = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_RATES: Mapping[str, int] = {
    **{prefix: factor for prefix, factor in _PREFIXES.items() if prefix},  # as ports are named: 200G
    **{f"{prefix}{bit}": factor for prefix, factor in _PREFIXES.items() for bit in ("bit/s", "b/s", "bps")},
    **{f"{unit}/s": 8 * factor for unit, factor in _SIZES.items()},
}
_SECONDS: Mapping[str, Decimal] = {
    **dict.fromkeys(("us", "microsecond", "microseconds"), Decimal("0.000001")),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), Decimal("0.001")),
    **dict.fromkeys(("s", "sec", "second", "seconds"), Decimal(1)),
    **dict.fromkeys(("min", "minute", "minutes"), Decimal(60)),
    **dict.fromkeys(("h", "hour", "hours"), Decimal(3600)),
    **dict.fromkeys(("d", "day", "days"), Decimal(86400)),
    **dict.fromkeys(("w", "week", "weeks"), Decimal(604800)),
}
_COUNTS: Mapping[str, int] = {
    f"{prefix}{space}IOPS": factor for prefix, factor in _PREFIXES.items() for space in ("", " ")
}

_SHARES: Mapping[str, int] = dict.fromkeys(("%", "percent"), 1)


def _parse(text: object, units: Mapping[str, int] | Mapping[str, Decimal], what: str) -> Decimal:
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise UnitError(f"expected {what}")
    if not isinstance(text, str):
        raise UnitError(f"expected {what}; a bare number has no unit")
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise UnitError(f"expected {what}")
    number, unit = found.group(1), found.group(2)
    if unit is None:
        raise UnitError(f"expected {what}; a bare number has no unit")
    if unit not in units:
        raise UnitError(f"expected {what}; the unit '{unit}' is not one of them")
    return Decimal(number) * units[unit]


def parse_size(text: object) -> int:
    """Bytes, rounded to a whole byte. Raises UnitError unless `text` is like `7.68TB` or `96GiB`."""
    size = _parse(
        text, _SIZES, 'a size with its unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB) such as "96GiB"'
    )
    return int(size.to_integral_value())


def parse_rate(text: object) -> float:
    """Bits a second. `200G` and `150 Gbit/s` are bits, `25 GB/s` is bytes (capital B). Raises UnitError."""
    what = 'a rate with its unit (Mbit/s, Gbit/s, GB/s, or 200G as ports are named) such as "150 Gbit/s"'
    return float(_parse(text, _RATES, what))


def parse_bytes_rate(text: object) -> float:
    """Bytes a second: what parse_rate reads, divided by eight. Raises UnitError."""
    return parse_rate(text) / 8


def parse_seconds(text: object) -> float:
    """Seconds. Accepts `100ms`, `1 s`, `5 minutes`, `30 days`. Raises UnitError."""
    return float(_parse(text, _SECONDS, 'a time with its unit (ms, s, min, h, d) such as "100ms"'))


def parse_iops(text: object) -> float:
    """Operations a second. Accepts `100k IOPS`. Raises UnitError."""
    return float(_parse(text, _COUNTS, 'operations a second with the unit IOPS such as "100k IOPS"'))


def parse_percent(text: object) -> float:
    """Percent. Accepts `15 %`, `15 percent`. Raises UnitError."""
    return float(_parse(text, _SHARES, 'a share with the unit % such as "15 %"'))


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shortest(value: Decimal, units: list[tuple[str, Decimal]], decimals: int) -> str:
    """The largest unit in which the value is exact with at most `decimals` places; else the last."""
    for unit, factor in units:
        number = value / factor
        if number >= 1 and number == round(number, decimals) and number * factor == value:
            return _plain(round(number, decimals)) + unit
    unit, factor = units[-1]
    return _plain(value / factor) + unit


def format_size(size: int) -> str:
    """Inverse of parse_size: exact, the prefix that reads shortest (`7.68TB`, `96GiB`)."""
    value = Decimal(size)
    decimal = _shortest(value, [(u, Decimal(_SIZES[u])) for u in ("PB", "TB", "GB", "MB", "kB", "B")], 3)
    binary = _shortest(value, [(u, Decimal(_SIZES[u])) for u in ("PiB", "TiB", "GiB", "MiB", "KiB", "B")], 2)
    return binary if len(binary) < len(decimal) else decimal


def format_rate(bits_per_second: float) -> str:
    """Inverse of parse_rate: `150 Gbit/s`."""
    units = [(f" {prefix}bit/s", Decimal(_PREFIXES[prefix])) for prefix in ("T", "G", "M", "k", "")]
    return _shortest(Decimal(repr(float(bits_per_second))), units, 3)


def format_bytes_rate(bytes_per_second: float) -> str:
    """Inverse of parse_bytes_rate: `2 GB/s`."""
    units = [(f" {unit}/s", Decimal(_SIZES[unit])) for unit in ("TB", "GB", "MB", "kB", "B")]
    return _shortest(Decimal(repr(float(bytes_per_second))), units, 3)


def format_seconds(seconds: float) -> str:
    """Inverse of parse_seconds: `100 ms`, `1.5 s`, `10 min`."""
    value = Decimal(repr(float(seconds)))
    units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]
    if value >= 120:
        for unit, factor in units:
            if value % factor == 0:
                return f"{_plain(value / factor)} {unit}"
    if 0 < value < 1:
        return f"{_plain(value * 1000)} ms"
    return f"{_plain(value)} s"


def format_iops(per_second: float) -> str:
    """Inverse of parse_iops: `100k IOPS`."""
    units = [(f"{prefix} IOPS", Decimal(_PREFIXES[prefix])) for prefix in ("M", "k", "")]
    return _shortest(Decimal(repr(float(per_second))), units, 3)


def format_percent(share: float) -> str:
    """Inverse of parse_percent: `15 %`."""
    return f"{_plain(Decimal(repr(float(share))))} %"
