"""Quantities: what people write is read exactly, and what is written is read back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.units import (
    UnitError,
    format_bytes_rate,
    format_iops,
    format_rate,
    format_seconds,
    format_size,
    parse_bytes_rate,
    parse_iops,
    parse_rate,
    parse_seconds,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("7.68TB", 7_680_000_000_000),
        ("96GiB", 96 * 2**30),
        ("96 GB", 96 * 10**9),
        ("480GB", 480 * 10**9),
        ("1TiB", 2**40),
        ("1TB", 10**12),
        ("4096 B", 4096),
        ("0.5KiB", 512),
        ("12kB", 12_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("200G", 200e9),
        ("150 Gbit/s", 150e9),
        ("20Mbit/s", 20e6),
        ("1Gbps", 1e9),
        ("100 Mb/s", 100e6),
        ("25 GB/s", 200e9),
        ("9600 bit/s", 9600.0),
    ],
)
def test_rates_tell_bits_from_bytes(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("100ms", 0.1), ("1 s", 1.0), ("5 minutes", 300.0), ("30 d", 2_592_000.0), ("0ms", 0.0), ("20us", 2e-5)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("parse", [parse_size, parse_rate, parse_seconds, parse_iops])
@pytest.mark.parametrize(
    "text", ["", "7", 7, 7.5, True, None, "GB", "-1GB", "1e3GB", "1,5GB", "nan s", "3 parsecs", []]
)
def test_what_is_no_quantity_is_refused_with_what_was_expected(parse: object, text: object) -> None:
    assert callable(parse)
    with pytest.raises(UnitError, match=r"^expected .*such as "):
        parse(text)


@pytest.mark.parametrize("text", ["3Gb", "3G", "3gb", "3GBit/s"])
def test_a_size_in_letters_that_could_mean_bits_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="not one of them"):
        parse_size(text)


def test_a_bare_number_is_refused_by_name() -> None:
    with pytest.raises(UnitError, match="a bare number has no unit"):
        parse_size("96")


@given(st.integers(min_value=0, max_value=2**63))
def test_sizes_survive_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.floats(min_value=0, max_value=1e15, allow_nan=False))
def test_rates_survive_being_written(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=1e-15)
    assert parse_bytes_rate(format_bytes_rate(rate)) == pytest.approx(rate, rel=1e-15)


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False))
def test_times_survive_being_written(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=1e-15)


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False))
def test_operations_survive_being_written(rate: float) -> None:
    assert parse_iops(format_iops(rate)) == pytest.approx(rate, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (format_size(7_680_000_000_000), "7.68TB"),
        (format_size(2304 * 2**30), "2.25TiB"),
        (format_rate(150e9), "150 Gbit/s"),
        (format_seconds(0.1), "100 ms"),
        (format_seconds(600), "10 min"),
        (format_bytes_rate(2e9), "2 GB/s"),
        (format_iops(100_000), "100k IOPS"),
    ],
)
def test_quantities_are_written_as_people_write_them(text: str, shown: str) -> None:
    assert text == shown
