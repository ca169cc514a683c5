"""Restart policies: Docker's words, and when its rules start a container again."""

from __future__ import annotations

import pytest

from cais.container.restart import BY_HAND, BY_SHUTDOWN, RestartPolicy, Restarts, after, at_boot, for_run, parse
from cais.errors import Conflict, Invalid


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", RestartPolicy("no")),
        ("no", RestartPolicy("no")),
        ("no:0", RestartPolicy("no")),
        ("always", RestartPolicy("always")),
        ("unless-stopped", RestartPolicy("unless-stopped")),
        ("on-failure", RestartPolicy("on-failure")),
        ("on-failure:", RestartPolicy("on-failure")),
        ("on-failure:3", RestartPolicy("on-failure", 3)),
    ],
)
def test_policies_are_read(text, policy):
    assert parse(text) == policy
    assert RestartPolicy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foo", "unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"),
        (":3", "invalid restart policy format: no policy provided before colon"),
        ("on-failure:x", "maximum retry count must be an integer"),
        ("always:3", "maximum retry count can only be used with 'on-failure'"),
        ("unless-stopped:-1", "can only be used with 'on-failure' and cannot be negative"),
        ("on-failure:-1", "invalid restart policy: maximum retry count cannot be negative"),
    ],
)
def test_what_is_wrong_is_said_in_dockers_words(text, words):
    with pytest.raises(Invalid, match="invalid restart policy") as caught:
        parse(text)
    assert words in caught.value.message and caught.value.exit_code == 125


def test_what_goes_with_its_end_is_not_started_again():
    with pytest.raises(Conflict, match="cannot specify both --restart and --rm"):
        for_run("always", auto_remove=True)
    assert for_run("no", auto_remove=True) == RestartPolicy()


def test_waits_double_up_to_a_minute_and_begin_anew_after_a_good_run():
    restarts = Restarts()
    waits = []
    for _ in range(13):
        restarts = after(RestartPolicy("always"), restarts, 1, 0.1)
        assert restarts is not None
        waits.append(restarts.wait_milliseconds)
    assert waits == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000]
    assert after(RestartPolicy("always"), restarts, 1, 10.0) == Restarts(14, 100)


@pytest.mark.parametrize(
    ("policy", "restarts", "exit_code", "again"),
    [
        (RestartPolicy("no"), Restarts(), 1, False),
        (RestartPolicy("always"), Restarts(), 0, True),
        (RestartPolicy("unless-stopped"), Restarts(), 0, True),
        (RestartPolicy("always"), Restarts(stopped=BY_HAND), 1, False),
        (RestartPolicy("unless-stopped"), Restarts(stopped=BY_HAND), 1, False),
        (RestartPolicy("on-failure"), Restarts(99), 1, True),
        (RestartPolicy("on-failure"), Restarts(), 0, False),
        (RestartPolicy("on-failure", 2), Restarts(1), 1, True),
        (RestartPolicy("on-failure", 2), Restarts(2), 1, False),
    ],
)
def test_when_it_is_started_again(policy, restarts, exit_code, again):
    assert (after(policy, restarts, exit_code, 1.0) is not None) is again


@pytest.mark.parametrize(
    ("name", "stopped", "started"),
    [
        ("no", 0, False),
        ("on-failure", 0, False),
        ("always", 0, True),
        ("always", BY_HAND, True),
        ("unless-stopped", 0, True),
        ("unless-stopped", BY_HAND, False),
        ("unless-stopped", BY_SHUTDOWN, True),
    ],
)
def test_what_is_started_with_the_host(name, stopped, started):
    assert at_boot(RestartPolicy(name), Restarts(stopped=stopped), was_started=True) is started
    assert not at_boot(RestartPolicy(name), Restarts(stopped=stopped), was_started=False)
