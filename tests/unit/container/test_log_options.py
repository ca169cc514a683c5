"""Log drivers and their options, refused in Docker's words (taken from Docker 26)."""

from __future__ import annotations

import pytest

from cais.container import log_options
from cais.container.log_options import LogOptions
from cais.errors import Invalid

_FAILED = "failed to initialize logging driver: "


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("foo", [], "logger: no log driver named 'foo' is registered"),
        ("syslog", [], _FAILED + "'syslog' is not supported by cais"),
        ("", ["foo=1"], "unknown log opt 'foo' for json-file log driver"),
        ("", ["foo"], "unknown log opt 'foo' for json-file log driver"),
        ("local", ["foo=1"], "unknown log opt 'foo' for log driver local"),
        ("journald", ["max-size=1"], "unknown log opt 'max-size' for journald log driver"),
        ("none", ["max-size=1m"], "invalid logging opts for driver none"),
        ("", ["max-size=x"], _FAILED + "invalid size: 'x'"),
        ("", ["max-size=-1"], _FAILED + "invalid size: '-1'"),
        ("", ["max-size=1q"], _FAILED + "invalid size: '1q'"),
        ("", ["max-size=0"], _FAILED + "max-size must be a positive number"),
        ("", ["max-size=1k", "max-file=0"], _FAILED + "max-file cannot be less than 1"),
        ("", ["max-file=x"], _FAILED + 'strconv.Atoi: parsing "x": invalid syntax'),
        (
            "",
            ["compress=true"],
            _FAILED + "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("", ["compress=x"], _FAILED + 'strconv.ParseBool: parsing "x": invalid syntax'),
        ("", ["mode=x"], "logger: logging mode not supported: x"),
        ("", ["max-buffer-size=1m"], "logger: max-buffer-size option is only supported with 'mode=non-blocking'"),
        ("", ["mode=non-blocking", "max-buffer-size=x"], "error parsing option max-buffer-size: invalid size: 'x'"),
    ],
)
def test_refused(driver, options, message):
    with pytest.raises(Invalid) as caught:
        log_options.parse(driver, options)
    assert caught.value.message == message
    assert caught.value.exit_code == 125


@pytest.mark.parametrize(
    ("driver", "options", "size", "files", "compress"),
    [
        ("", [], 0, 1, False),
        ("json-file", ["max-size=10k", "max-file=3"], 10_000, 3, False),
        ("json-file", ["max-size=1.5MB", "max-file=2", "compress=true"], 1_500_000, 2, True),
        ("local", [], 20_000_000, 5, True),
        ("local", ["max-file=1"], 20_000_000, 1, False),
        ("none", [], 0, 1, False),
    ],
)
def test_understood(driver, options, size, files, compress):
    found = log_options.parse(driver, options)
    assert (found.max_bytes, found.files, found.compress) == (size, files, compress)
    assert LogOptions.from_json(found.to_json()) == found


def test_details():
    log = log_options.parse("", ["labels=a,missing", "labels-regex=^x", "env=HOME", "tag=any"])
    labels = {"a": "1", "xy": "2", "z": "3"}
    found = log_options.attributes(log, labels, ["HOME=/root", "OTHER=1"], "0123456789ab")
    assert found == {"a": "1", "xy": "2", "HOME": "/root", "tag": "0123456789ab"}
