"""Rows, sentences, filters, names."""

from __future__ import annotations

import pytest

from cais.container import names, views
from cais.container.records import ContainerRecord
from cais.container.state import State
from cais.errors import Invalid
from cais.spec.duration import human_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (150, "2 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (86400, "24 hours"), (3 * 86400, "3 days"), (15 * 86400, "2 weeks"),
        (90 * 86400, "3 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_are_docker_s(seconds, text):
    assert human_duration(seconds) == text


RECORD = ContainerRecord(
    "ab" * 32,
    "quiet_noether",
    "sha256:1",
    "busybox",
    "",
    "",
    "s",
    100.0,
    110.0,
    plan_json='{"command":["sh"],"labels":{"a":"1"}}',
)


def test_status():
    assert views.status_text(RECORD, State("running"), 115) == "Up 5 seconds"
    assert views.status_text(RECORD, State("exited", 3, 115.0), 116) == "Exited (3) 1 second ago"
    assert views.status_text(RECORD, State("created"), 115) == "Created"


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ({"id": ["abab"]}, True),
        ({"id": ["b"]}, False),
        ({"name": ["noe"]}, True),
        ({"name": ["^/quiet_noether$"]}, True),
        ({"name": ["^noe"]}, False),
        ({"label": ["a"]}, True),
        ({"label": ["a=1", "b"]}, False),
        ({"label": ["a=2"]}, False),
        ({"status": ["exited", "running"]}, True),
        ({"status": ["created"]}, False),
        ({"exited": ["3"]}, True),
        ({"is-task": ["false"]}, True),
        ({"is-task": ["true"]}, False),
        ({"exited": ["0"]}, False),
        ({"ancestor": ["busybox"]}, True),
        ({"ancestor": ["x"]}, False),
        ({"network": ["none"]}, True),
    ],
)
def test_filters(filters, fits):
    row = views.summary(RECORD, State("exited", 3, 115.0), 116)
    views.check_filters(filters)
    assert views.passes(row, filters, None, None, []) is fits


def test_filters_that_there_are_not():
    for filters in ({"what": ["1"]}, {"status": ["what"]}, {"exited": ["x"]}):
        with pytest.raises(Invalid, match="invalid filter"):
            views.check_filters(filters)


def test_names():
    assert names.check_name("/a-b.c_1") == "a-b.c_1"
    for name in ("", "a", "-ab", "a b", "ä1", "a/b"):
        with pytest.raises(Invalid, match="Invalid container name"):
            names.check_name(name)
    made = {names.random_name() for _ in range(50)}
    assert len(made) > 20
    assert all(names.check_name(name) for name in made)


def test_inspect_has_docker_s_fields():
    value = views.inspect(RECORD, State("exited", 3, 115.0), log_path="/log", directory="/d", volume_paths={})
    assert value["State"]["ExitCode"] == 3 and value["State"]["Status"] == "exited"
    assert value["Name"] == "/quiet_noether" and value["Path"] == "sh"
    assert value["Created"] == "1970-01-01T00:01:40Z"
    assert value["Config"]["Labels"] == {"a": "1"}
