"""Health checks: what the image and the flags make together, and what results make of a status."""

from __future__ import annotations

import pytest

from cais.container.health import Health, HealthCheck, Result, check_for, config_json, output_text
from cais.container.options import RunOptions
from cais.errors import Invalid

SECOND = 1_000_000_000
IMAGE = {"Healthcheck": {"Test": ["CMD", "a", "b"], "Interval": 5 * SECOND, "Retries": 7}, "Shell": ["/bin/ash", "-ec"]}


def wanted(**fields) -> RunOptions:
    return RunOptions("image", **fields)


def failed(start: float, code: int = 1) -> Result:
    return Result(start, start + 0.1, code, "text")


def test_the_image_has_a_check_and_flags_change_parts_of_it():
    assert check_for({}, wanted()) == HealthCheck()
    check = check_for(IMAGE, wanted())
    assert check.args == ("a", "b") and check.interval == 5 * SECOND and check.allowed_failures == 7
    check = check_for(IMAGE, wanted(health_retries=2, health_start_period_nanoseconds=SECOND))
    assert config_json(check) == {
        "Test": ["CMD", "a", "b"], "Interval": 5 * SECOND, "StartPeriod": SECOND, "Retries": 2,
    }  # fmt: skip
    check = check_for(IMAGE, wanted(health_cmd="test -e /ok"))
    assert check.args == ("/bin/ash", "-ec", "test -e /ok")
    assert HealthCheck.from_json(check.to_json()) == check


def test_none_takes_the_check_away():
    assert check_for(IMAGE, wanted(no_healthcheck=True)).args == ()
    assert check_for({"Healthcheck": {"Test": ["NONE"]}}, wanted()).args == ()
    assert check_for(IMAGE, wanted(no_healthcheck=True)).test == ("NONE",)


@pytest.mark.parametrize(
    "image",
    [{"Healthcheck": "x"}, {"Healthcheck": {"Test": "x", "Interval": "soon", "Retries": -1}}, {"Healthcheck": []}],
)
def test_nonsense_of_an_image_is_no_check(image):
    assert check_for(image, wanted()) == HealthCheck()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"no_healthcheck": True, "health_cmd": "x"}, "--no-healthcheck conflicts with --health-* options"),
        ({"health_interval_nanoseconds": -1}, "--health-interval cannot be negative"),
        ({"health_start_interval_nanoseconds": -1}, "--health-start-interval cannot be negative"),
        ({"health_retries": -1}, "--health-retries cannot be negative"),
        ({"health_timeout_nanoseconds": 1000}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"health_start_period_nanoseconds": 1000}, "StartPeriod in Healthcheck cannot be less than 1ms"),
    ],
)
def test_what_is_wrong_is_said_in_dockers_words(fields, words):
    with pytest.raises(Invalid) as caught:
        check_for({}, wanted(**fields))
    assert caught.value.message == words and caught.value.exit_code == 125


def test_failures_in_a_row_make_it_unhealthy_and_one_success_healthy():
    check = HealthCheck(("CMD", "x"), retries=2)
    health = Health().after(check, failed(100), 0)
    assert (health.status, health.failing_streak) == ("starting", 1)
    health = health.after(check, failed(101), 0)
    assert (health.status, health.failing_streak) == ("unhealthy", 2)
    health = health.after(check, failed(102, 0), 0)
    assert (health.status, health.failing_streak) == ("healthy", 0)
    health = health.after(check, failed(103), 0)
    assert (health.status, health.failing_streak) == ("healthy", 1)
    assert health.ended().status == "unhealthy" and health.begun().status == "starting"
    for moment in range(104, 110):
        health = health.after(check, failed(moment), 0)
    assert [result.start for result in health.log] == [105, 106, 107, 108, 109]


def test_failures_do_not_count_while_it_starts():
    check = HealthCheck(("CMD", "x"), start_period=10 * SECOND, retries=1)
    health = Health().after(check, failed(105), 100)
    assert (health.status, health.failing_streak) == ("starting", 0) and len(health.log) == 1
    assert health.after(check, failed(111), 100).status == "unhealthy"
    healthy = health.after(check, failed(106, 0), 100)
    assert healthy.after(check, failed(107), 100).status == "unhealthy"


def test_the_next_check_comes_sooner_while_it_starts():
    check = HealthCheck(("CMD", "x"), interval=20 * SECOND, start_period=10 * SECOND, start_interval=SECOND)
    assert check.wait_seconds("starting", 3) == 1 and check.wait_seconds("starting", 10) == 20
    assert check.wait_seconds("healthy", 3) == 20
    assert HealthCheck().wait_seconds("starting", 0) == 30 and HealthCheck().timeout_nanoseconds == 30 * SECOND


def test_output_is_text_and_says_when_there_was_more():
    assert output_text(b"a\xff", more=False) == "a�" and output_text(b"a", more=True) == "a..."
