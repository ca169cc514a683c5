"""How slowly a body may come."""

from __future__ import annotations

import pytest

from cais.registry.pace import Pace


def seconds_until_cut(rate: float, *, busy: float = 0.0) -> int | None:
    """Of a client that sends ``rate`` bytes a second, for an hour; of each minute it waits for us a part, ``busy``."""
    pace = Pace(60, 60 * 256)
    pace.begin(1000.0, 0)
    for second in range(1, 3600):
        is_waited_for = second % 60 >= 60 * busy
        if pace.is_too_slow(1000.0 + second, int(second * rate), is_waited_for=is_waited_for):
            return second
    return None


@pytest.mark.parametrize("rate", [0.1, 1, 100, 250])
def test_drops_end_after_one_window(rate: float) -> None:
    assert seconds_until_cut(rate) == 60


@pytest.mark.parametrize("rate", [260, 5000, 10**9])
def test_a_slow_line_is_enough(rate: float) -> None:
    assert seconds_until_cut(rate) is None


def test_who_waits_for_us_is_given_the_time() -> None:
    assert seconds_until_cut(0.1, busy=0.5) == 119
    assert seconds_until_cut(0.1, busy=1.0) is None
    assert seconds_until_cut(150, busy=0.5) is None, "what came while we were busy counts"


def test_what_was_sent_at_once_does_not_last_for_ever() -> None:
    pace = Pace(60, 60 * 256)
    pace.begin(0.0, 0)
    assert not pace.is_too_slow(60.0, 10**9, is_waited_for=True)
    assert pace.is_too_slow(120.0, 10**9 + 60, is_waited_for=True)


def test_each_body_begins_anew() -> None:
    pace = Pace(60, 60 * 256)
    pace.begin(0.0, 0)
    assert not pace.is_too_slow(50.0, 10, is_waited_for=True)
    pace.begin(55.0, 20)
    assert not pace.is_too_slow(100.0, 30, is_waited_for=True)


def test_any_rate_will_do_where_none_is_set() -> None:
    pace = Pace(60, 0)
    pace.begin(0.0, 0)
    assert not pace.is_too_slow(600.0, 1, is_waited_for=True)
