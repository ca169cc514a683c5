"""Points in time as Docker's client takes them."""

from __future__ import annotations

import time

import pytest

from cais.cli.moments import local, nanoseconds
from cais.errors import Invalid

NOW = 1_795_441_159_191_630_815


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1136073600", 1_136_073_600_000_000_000),
        ("1136073600.000000001", 1_136_073_600_000_000_001),
        ("2006-01-01T00:00:00Z", 1_136_073_600_000_000_000),
        ("2006-01-01T00:00:00.000000001Z", 1_136_073_600_000_000_001),
        ("2006-01-01T01:00:00.5+01:00", 1_136_073_600_500_000_000),
        ("2006-01-01T00:00Z", 1_136_073_600_000_000_000),
        ("2006-01-01T00Z", 1_136_073_600_000_000_000),
        ("2006-01-01Z", 1_136_073_600_000_000_000),
        ("42m", NOW - 42 * 60 * 10**9),
        ("1h0.5s", NOW - 3_600_500_000_000),
        ("0s", NOW),
        ("0", 0),
        ("1", 10**9),
        ("999999h", 0),
    ],
)
def test_moments(text, moment):
    assert nanoseconds(text, NOW) == moment


@pytest.mark.parametrize("text", ["2006-01-02", "2006-01-02T15", "2006-01-02T15:04", "2006-01-02T15:04:05.25"])
def test_without_a_zone_it_is_this_host_s(text, monkeypatch):
    monkeypatch.setenv("TZ", "UTC-3")
    time.tzset()
    try:
        assert nanoseconds(text, NOW) == nanoseconds(text + "+03:00", NOW)
        assert local(1_136_073_600_000_000_001) == "2006-01-01T03:00:00.000000001+03:00"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert nanoseconds("2006-01-02T03:04:05Z", NOW) == nanoseconds(local(nanoseconds("2006-01-02T03:04:05Z", 0)), NOW)


@pytest.mark.parametrize("text", ["xx", "2006-13-01", "1.x", "12:00", "2006-01-01T00:00:00.xZ", "-"])
def test_what_is_none(text):
    with pytest.raises(Invalid, match="failed to parse value as time or duration"):
        nanoseconds(text, NOW)
