"""What runtimes say when they cannot start something, as Docker's exit codes."""

from __future__ import annotations

import pytest

from cais.runtime.failures import explain, read_log


@pytest.mark.parametrize(
    ("message", "program", "code"),
    [
        ("executable file `nosuch` not found in $PATH: No such file or directory", "nosuch", 127),
        ('unable to start container process: exec: "nosuch": executable file not found in $PATH', "nosuch", 127),
        ('unable to start container process: exec: "/x": stat /x: no such file or directory', "/x", 127),
        ('unable to start container process: exec: "/etc": permission denied', "/etc", 126),
        ("open executable: Operation not permitted", "/etc", 126),
        ("exec: Exec format error", "/script", 126),
        ("mount `/gone` to `/x`: No such file or directory", "sh", 125),
        ('chdir to cwd ("/w") set in config.json failed: permission denied', "sh", 125),
    ],
)
def test_exit_codes(message, program, code):
    assert explain(message, [program], "crun").exit_code == code


def test_logs_of_both_runtimes():
    log = (
        '{"msg":"a","level":"warning"}\n{"msg":"broken","level":"error","time":""}\n{"msg":"broken","level":"error"}\n'
    )
    assert read_log(log) == "broken"
    assert read_log("") == ""
    assert read_log("not json\n") == "not json"
