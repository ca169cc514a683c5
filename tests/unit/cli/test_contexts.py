"""Contexts: kept, shown and chosen as Docker's client does it. On another host: tests/integration."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest


@pytest.fixture
def context(cais, tmp_path):
    """``context(*words)`` with settings of the test's own; ``cais`` words where the first is ""."""

    def run(*words, **options):
        environment = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "CAIS_ROOT": "", **options.pop("environment", {})}
        environment.setdefault("XDG_DATA_HOME", str(tmp_path / "data"))
        words = words[1:] if words[0] == "" else ("context", *words)
        return cais(*words, environment=environment, **options)

    return run


def test_life_of_a_context(context):
    made = context("create", "far", "--docker", "host=ssh://me@far:2222", "--description", "some d")
    assert (made.stdout, made.stderr) == ("far\n", 'Successfully created context "far"\n')
    assert context("create", "far", "--docker", "host=ssh://me@far").stderr == 'Error: context "far" already exists\n'
    assert context("ls", "-q").stdout == "default\nfar\n"
    assert context("show").stdout == "default\n"
    used = context("use", "far")
    assert (used.stdout, used.stderr) == ("far\n", 'Current context is now "far"\n')
    assert context("show").stdout == "far\n"
    assert context("ls").stdout.splitlines()[-1].split() == ["far", "*", "some", "d", "ssh://me@far:2222"]
    assert context("rm", "far").stderr == 'Error: context "far" is in use, set -f flag to force remove\n'
    shown = json.loads(context("inspect").stdout)[0]
    assert shown["Name"] == "far" and shown["Metadata"] == {"Description": "some d"}
    assert shown["Endpoints"]["docker"]["Host"] == "ssh://me@far:2222"
    assert context("update", "far", "--description", "x").stderr == 'Successfully updated context "far"\n'
    assert context("inspect", "-f", "{{.Metadata.Description}} {{.Endpoints.docker.Host}}", "far").stdout == (
        "x ssh://me@far:2222\n"
    )
    assert context("rm", "-f", "far").stdout == "far\n"
    assert context("show").stdout == "default\n"
    assert context("use", "far").stderr.startswith('Error: context "far": context not found')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "a b"), 'context name "a b" is invalid'),
        (("create", "../../x"), "is invalid"),
        (("create", "x" * 300), "is invalid"),
        (("create", "default"), '"default" is a reserved context name'),
        (("create", "xx", "--docker", "host=zzz"), "unable to parse docker host `zzz`"),
        (("create", "xx", "--docker", "host=ssh://-oProxyCommand=x"), "unable to parse docker host"),
        (("create", "xx", "--docker", "host=ssh://-l@x"), "unable to parse docker host"),
        (("create", "xx", "--docker", "host=ssh://h/path"), "unable to parse docker host"),
        (("create", "xx", "--docker", "host=ssh://h:99999"), "unable to parse docker host"),
        (("create", "xx", "--docker", "host=ssh://a;b"), "unable to parse docker host"),
        (("create", "xx", "--docker", "host=tcp://h:2376"), "there is no daemon to connect to"),
        (("create", "xx", "--docker", "ca=/x"), "ssh knows whom it trusts"),
        (("create", "xx", "--docker", "foo=1"), "unrecognized config key: foo"),
        (("create", "xx", "--cais", "root=relative"), "not an absolute path"),
        (("create", "xx", "--from", "nope"), 'context "nope": context not found'),
        (("rm", "default"), 'context "default" cannot be removed'),
        (("rm", "nope"), 'context "nope" does not exist'),
        (("rm", "../x"), "is invalid"),
        (("", "-c", "nope", "ps"), 'context "nope": context not found'),
        (("", "-c", "xx", "-H", "ssh://h", "ps"), "conflicting options: cannot specify both --host and --context"),
        (("", "-H", "unix:///var/run/docker.sock", "ps"), "there is no daemon to connect to"),
    ],
)
def test_what_cannot_be(context, tmp_path, words, message):
    done = context(*words)
    assert done.returncode == 1 and message in done.stderr
    assert context("ls", "-q").stdout == "default\n"


def test_another_root_directory(context, tmp_path):
    context("create", "test", "--cais", f"root={tmp_path}/other")
    for chosen in (["-c", "test"], ["--context=test"], ["-H", f"file://{tmp_path}/other"]):
        assert context("", *chosen, "info", "-f", "{{.DockerRootDir}}").stdout == f"{tmp_path}/other\n"
    where = ("", "info", "-f", "{{.DockerRootDir}}")
    assert context(*where, environment={"CAIS_CONTEXT": "test"}).stdout == f"{tmp_path}/other\n"
    root = {"CAIS_ROOT": str(tmp_path / "third")}
    assert context(*where, environment={"CAIS_CONTEXT": "test", **root}).stdout == f"{tmp_path}/third\n"
    context("use", "test")
    assert context(*where).stdout == f"{tmp_path}/other\n"
    assert context(*where, environment=root).stdout == f"{tmp_path}/third\n"
    assert "CAIS_ROOT environment variable overrides the active context" in context("ls", environment=root).stderr
    assert context("", "--root", str(tmp_path / "third"), *where[1:]).stdout == f"{tmp_path}/third\n"
    assert context("", "-c", "default", "context", "ls", "-q").stdout == "default\ntest\n"


def test_export_and_import(context, tmp_path):
    context("create", "far", "--docker", "host=ssh://far", "--cais", "root=/srv/x,program=/opt/cais")
    written = context("export", "far", cwd=tmp_path)
    assert written.stderr == 'Written file "far.dockercontext"\n'
    assert "file exists" in context("export", "far", cwd=tmp_path).stderr
    assert "already exists" in context("import", "far", str(tmp_path / "far.dockercontext")).stderr
    assert context("import", "again", str(tmp_path / "far.dockercontext")).returncode == 0
    one, two = (json.loads(context("inspect", name).stdout)[0]["Endpoints"] for name in ("far", "again"))
    assert one == two == {
        "docker": {"Host": "ssh://far", "SkipTLSVerify": False}, "cais": {"Root": "/srv/x", "Program": "/opt/cais"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("meta.json", b"[1]", "cannot be understood"),
        ("meta.json", b'{"Endpoints":{"docker":{"Host":"tcp://h:1"}}}', "no daemon"),
        ("meta.json", b'{"Endpoints":{"docker":{"Host":"ssh://-x"}}}', "unable to parse"),
        ("meta.json", b'{"Endpoints":{"docker":{"Host":"ssh://h:\xc2\xb2"}}}', "unable to parse"),
        ("meta.json", b"[" * 100_000, "cannot be understood"),
        ("tls/docker/key.pem", b"secret", "uses no TLS"),
        ("other", b"", "uses no TLS"),
        ("meta.json", b"x" * (2 << 20), "too large"),
    ],
)
def test_archives_that_are_no_contexts(context, tmp_path, name, content, message):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    (tmp_path / "file").write_bytes(buffer.getvalue())
    done = context("import", "bad", str(tmp_path / "file"))
    assert done.returncode == 1 and message in done.stderr
    assert context("import", "bad", "-", input="no tar").returncode == 1
    assert context("ls", "-q").stdout == "default\n"


def test_a_file_that_somebody_else_wrote(context, tmp_path):
    context("create", "far", "--docker", "host=ssh://far")
    path = tmp_path / "config" / "cais" / "contexts" / "far.json"
    assert os.stat(path).st_mode & 0o777 == 0o600
    path.write_text('{"Endpoints": {"docker": {"Host": "ssh://-oProxyCommand=touch /tmp/x"}}}')
    done = context("", "-c", "far", "ps")
    assert done.returncode == 1 and "unable to parse docker host" in done.stderr
    (tmp_path / "config" / "cais" / "context").write_text("../../../etc/passwd\n")
    assert "is invalid" in context("", "ps").stderr
