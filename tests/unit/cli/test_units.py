"""Sizes and ages read as Docker's client prints them."""

from __future__ import annotations

import pytest

from cais.cli.units import age, binary_size, human_size
from cais.spec.duration import human_duration

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234567, "1.23MB"), (117_000_000, "117MB"), (4_260_000, "4.26MB"),
     (1_500_000_000, "1.5GB"), (999_999, "1e+03kB")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


def test_sizes_with_other_digits() -> None:
    assert human_size(1_234_567, 4) == "1.235MB"
    assert binary_size(2 << 30) == "2GiB"
    assert binary_size(2_097_152_000) == "1.953GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "Less than a second"), (1, "1 second"), (59.9, "59 seconds"), (60, "About a minute"),
     (119, "About a minute"), (120, "2 minutes"), (59 * 60, "59 minutes"), (HOUR, "About an hour"),
     (1.4 * HOUR, "About an hour"),
     (1.5 * HOUR, "2 hours"), (47 * HOUR, "47 hours"), (48 * HOUR, "2 days"), (13 * DAY, "13 days"),
     (14 * DAY, "2 weeks"), (59 * DAY, "8 weeks"), (60 * DAY, "2 months"), (729 * DAY, "24 months"),
     (730 * DAY, "2 years")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_a_time_that_is_not_known() -> None:
    assert age(0, 100.0) == "N/A"
    assert age(40.0, 100.0) == "About a minute ago"
    # A clock that was set back makes nothing fail.
    assert age(200.0, 100.0) == "Less than a second ago"
