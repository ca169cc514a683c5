from __future__ import annotations

import pytest

from cais.spec import timestamp


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2024-01-31T12:00:00Z", 1706702400.0),
        ("2024-01-31T13:00:00+01:00", 1706702400.0),
        ("2024-01-31T12:00:00.5Z", 1706702400.5),
        ("2024-01-31T12:00:00.123456789Z", 1706702400.123456),
        ("2024-01-31", 1706659200.0),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("", 0.0),
        ("yesterday", 0.0),
        ("9999-99-99T00:00:00Z", 0.0),
    ],
)
def test_times_of_images_are_read(text: str, seconds: float) -> None:
    assert timestamp.parse(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "2024-01-31T12:00:00.5Z", "2038-01-19T03:14:08Z"])
def test_times_are_written_as_they_are_read(text: str) -> None:
    assert timestamp.format(timestamp.parse(text)) == text
