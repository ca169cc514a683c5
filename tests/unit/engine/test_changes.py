from __future__ import annotations

from typing import Any

import pytest

from cais.engine.changes import changed
from cais.errors import CaisError


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('CMD ["a", "b"]', {"Cmd": ["a", "b"]}),
        ("CMD echo hi", {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        ('ENTRYPOINT ["/x"]', {"Entrypoint": ["/x"]}),
        ("ENV A=1 B='two words'", {"Env": ["P=/bin", "A=1", "B=two words"]}),
        ("env P=$P:/x", {"Env": ["P=/bin:/x"]}),
        ("ENV K a value", {"Env": ["P=/bin", "K=a value"]}),
        ("EXPOSE 80 53/udp 8000-8001", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}),
        ('LABEL a=b "c d"="e f"', {"Labels": {"a": "b", "c d": "e f"}}),
        ("USER 1000:1000", {"User": "1000:1000"}),
        ("VOLUME /data /more", {"Volumes": {"/data": {}, "/more": {}}}),
        ("WORKDIR /a/../b", {"WorkingDir": "/b"}),
        ("WORKDIR sub", {"WorkingDir": "/w/sub"}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
        ("HEALTHCHECK --retries=3 CMD true", {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Retries": 3}}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
    ],
)
def test_each_instruction_changes_its_part(change: str, expected: dict[str, Any]) -> None:
    run = {"Env": ["P=/bin"], "WorkingDir": "/w"}
    assert changed(run, [change]) == {**run, **expected}
    assert run == {"Env": ["P=/bin"], "WorkingDir": "/w"}


@pytest.mark.parametrize(
    "change",
    [
        "RUN x", "FROM x", "COPY a b", "", "# nothing", "CMD a\nCMD b", "EXPOSE nine", "EXPOSE 0", "EXPOSE 70000",
        "EXPOSE 9-8", "NONSENSE x", "ENV", "ENV A=${B:?no}",
    ],
)  # fmt: skip
def test_what_cannot_be_changed_so(change: str) -> None:
    with pytest.raises(CaisError):
        changed({}, [change])


def test_changes_apply_in_order() -> None:
    assert changed({}, ["ENV A=1", "ENV B=$A", "WORKDIR /$B", "WORKDIR x"]) == {
        "Env": ["A=1", "B=1"],
        "WorkingDir": "/1/x",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (('ENTRYPOINT ["e"]',), (["e"], None)),
        (('CMD ["c"]', 'ENTRYPOINT ["e"]'), (["e"], ["c"])),
        (('ENTRYPOINT ["e"]', 'CMD ["c"]'), (["e"], ["c"])),
        (("ENTRYPOINT []",), ([], ["sleep", "9"])),
        (('CMD ["c"]',), (["old"], ["c"])),
        (("USER me",), (["old"], ["sleep", "9"])),
    ],
)
def test_a_new_entrypoint_has_no_command_of_before(changes: tuple[str, ...], expected: tuple[Any, Any]) -> None:
    found = changed({"Entrypoint": ["old"], "Cmd": ["sleep", "9"], "Env": ["A=b"]}, changes)
    assert (found.get("Entrypoint"), found.get("Cmd")) == expected and found["Env"] == ["A=b"]
