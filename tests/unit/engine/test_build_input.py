"""Contexts and Dockerfiles: from directories, files, standard input."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from cais.engine.build_input import DOCKERFILE_LIMIT_BYTES
from cais.errors import CaisError, Corrupt, Invalid, NotFound, Unavailable

pytestmark = pytest.mark.root


def tar(*members: tuple[str, bytes | str], links: tuple[tuple[str, str], ...] = ()) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in members:
            content = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return data.getvalue()


def from_stdin(work, data: bytes, **options) -> dict[str, str]:
    return work.files(context="-", stdin=io.BytesIO(data), **options)


class Trickle(io.RawIOBase):
    """Gives a byte at a time, as a slow pipe may."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int = -1) -> bytes:
        piece, self.data = self.data[:1], self.data[1:]
        return piece


class TestDirectory:
    def test_its_own_dockerfile(self, work):
        work.write({"Dockerfile": "FROM scratch\nCOPY x /\n", "x": "1"})
        assert work.files() == {"x": "1"}

    def test_in_lower_case_where_there_is_no_other(self, work):
        work.write({"dockerfile": "FROM scratch\nCOPY x /lower\n", "x": "1"})
        assert work.files() == {"lower": "1"}
        work.write({"Dockerfile": "FROM scratch\nCOPY x /upper\n"})
        assert work.files() == {"upper": "1"}

    def test_another_dockerfile_anywhere(self, work, tmp_path):
        work.write({"x": "1"})
        (tmp_path / "other").write_text("FROM scratch\nCOPY x /other\n")
        assert work.files(dockerfile=str(tmp_path / "other")) == {"other": "1"}

    def test_a_dockerfile_from_standard_input(self, work):
        work.write({"x": "1", "Dockerfile": "FROM scratch\nCOPY x /wrong\n"})
        stdin = io.BytesIO(b"FROM scratch\nCOPY x /stdin\n")
        assert work.files(dockerfile="-", stdin=stdin) == {"stdin": "1"}

    def test_a_dockerfile_from_a_pipe(self, work, tmp_path):
        work.write({"x": "1"})
        read, write = os.pipe()
        os.write(write, b"FROM scratch\nCOPY x /pipe\n")
        os.close(write)
        assert work.files(dockerfile=f"/proc/self/fd/{read}") == {"pipe": "1"}
        os.close(read)

    @pytest.mark.parametrize(
        ("options", "kind", "text"),
        [
            ({"context": "/no/such"}, NotFound, "path '/no/such' not found"),
            ({"context": "/etc/passwd"}, Invalid, "is not a directory"),
            ({"dockerfile": "nowhere"}, NotFound, "open nowhere: no such file"),
            ({}, NotFound, "open Dockerfile: no such file"),
            ({"dockerfile": "/"}, Invalid, "is a directory"),
            ({"context": "https://127.0.0.1:1/x.git"}, CaisError, "failed to fetch remote"),
            ({"context": "http://127.0.0.1:1/x"}, Unavailable, "failed to load"),
            ({"context": "-"}, Invalid, "standard input is asked for"),
            ({"context": "-", "dockerfile": "-"}, Invalid, "both build context and dockerfile"),
        ],
    )
    def test_what_is_wrong(self, work, options, kind, text):
        with pytest.raises(kind, match=text):
            work.build(**options)
        assert work.leftovers() == []

    def test_a_hint_where_f_is_relative_to_the_context(self, work):
        work.write({"sub/Dockerfile": "FROM scratch\n"})
        with pytest.raises(NotFound) as error:
            work.build(dockerfile="sub/Dockerfile")
        assert error.value.hint.endswith(f"did you mean -f {work.context}/sub/Dockerfile?")

    def test_too_large_a_dockerfile(self, work):
        (work.context / "Dockerfile").touch()
        os.truncate(work.context / "Dockerfile", DOCKERFILE_LIMIT_BYTES + 1)
        with pytest.raises(Invalid, match="larger than 16 MiB"):
            work.build()

    def test_one_without_an_end(self, work):
        with pytest.raises(Invalid, match="larger than 16 MiB"):
            work.build(dockerfile="/dev/zero")


class TestStandardInput:
    def test_a_lone_dockerfile(self, work):
        assert from_stdin(work, b"FROM scratch\nCOPY <<END /x\nhere\nEND\n") == {"x": "here\n"}
        assert work.leftovers() == []

    def test_it_has_no_files(self, work):
        with pytest.raises(NotFound, match='"/x": not found'):
            work.build(context="-", stdin=io.BytesIO(b"FROM scratch\nCOPY x /\n"))
        assert work.leftovers() == []

    def test_too_large_a_one(self, work):
        data = b"FROM scratch\n" + b"#" * (DOCKERFILE_LIMIT_BYTES + 1)
        with pytest.raises(Invalid, match="larger than 16 MiB"):
            work.build(context="-", stdin=io.BytesIO(data))
        assert work.leftovers() == []

    @pytest.mark.parametrize("packed", [bytes, gzip.compress])
    def test_a_tar(self, work, packed):
        data = packed(tar(("Dockerfile", "FROM scratch\nCOPY d /\n"), ("d/x", "1"), ("d/y", "2")))
        assert from_stdin(work, data) == {"x": "1", "y": "2"}
        assert work.leftovers() == []

    def test_a_tar_that_comes_slowly(self, work):
        data = tar(("Dockerfile", "FROM scratch\nCOPY x /\n"), ("x", "1"))
        assert work.files(context="-", stdin=Trickle(data)) == {"x": "1"}

    def test_another_dockerfile_in_it(self, work):
        data = tar(("sub/other", "FROM scratch\nCOPY x /other\n"), ("x", "1"))
        assert from_stdin(work, data, dockerfile="sub/other") == {"other": "1"}
        with pytest.raises(NotFound, match="open Dockerfile"):
            from_stdin(work, data)
        assert work.leftovers() == []

    def test_an_ignore_file_in_it_is_a_file_like_others(self, work):
        """Measured on BuildKit: what a client sends as an archive is taken as it is."""
        data = tar(("Dockerfile", "FROM scratch\nCOPY . /\n"), ("x", "1"), (".dockerignore", "x\nD*\n.*"))
        assert sorted(from_stdin(work, data)) == [".dockerignore", "Dockerfile", "x"]

    def test_a_dockerfile_and_another(self, work):
        with pytest.raises(Invalid, match="ambiguous Dockerfile source"):
            from_stdin(work, b"FROM scratch\n", dockerfile="x")

    def test_the_second_time_it_is_a_hit(self, work):
        data = tar(("Dockerfile", "FROM scratch\nCOPY x /\n"), ("x", "1"))
        from_stdin(work, data)
        from_stdin(work, data)
        assert work.ran == [] and work.cached == ["COPY x /"]
        assert not os.path.exists(os.path.join(work.stores.root, "contexts")), "nothing of it is seen again"

    def test_a_plan_leaves_nothing(self, work):
        data = tar(("Dockerfile", "FROM scratch\nCOPY x /\n"), ("x", "1"))
        assert [step.state for step in work.plan(context="-", stdin=io.BytesIO(data))][-1] == "miss"
        assert work.leftovers() == [] and work.engine.builder.list() == []
        assert os.listdir(os.path.join(work.stores.root, "builds")) == []

    @pytest.mark.parametrize(
        "data", [tar(("../x", "1")), tar(("x", "1" * 9000))[:5000], gzip.compress(b"x", mtime=0)[:9]]
    )
    def test_a_hostile_or_damaged_one(self, work, data):
        with pytest.raises((Invalid, Corrupt)):
            work.build(context="-", stdin=io.BytesIO(data))
        assert work.leftovers() == []

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../../../../../etc/passwd"])
    def test_its_dockerfile_is_no_file_of_the_host(self, work, target):
        with pytest.raises(NotFound, match="failed to read dockerfile"):
            work.build(context="-", stdin=io.BytesIO(tar(links=(("Dockerfile", target),))))
        assert work.leftovers() == []

    def test_its_dockerfile_may_be_a_link_in_it(self, work):
        data = tar(("sub/real", "FROM scratch\nCOPY x /\n"), ("x", "1"), links=(("Dockerfile", "/sub/real"),))
        assert from_stdin(work, data) == {"x": "1"}
