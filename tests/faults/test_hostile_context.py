"""Contexts that change, hang, hide and point elsewhere: nothing outside is read, and nothing hangs or is half made."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cais.build.context import Context
from cais.build.graph import Copy
from cais.build.hashing import _Reader
from cais.build.ops.copy import CopyReport, copy
from cais.build.ops.reuse import Reuse
from cais.build.ops.target import LayerTarget, Target
from cais.errors import CaisError, Denied, Failed
from cais.host import syscalls
from cais.host.files import remove_tree

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.mkdir()
    return path


def run(root: Path, image: Path, *sources: str, between: Callable[[], object] = lambda: None) -> CopyReport:
    """``between`` happens after the scan and the hashing, before the copy."""
    op = Copy(tuple(sources), "/x/")
    with Context(str(root)) as context, Target(str(image)) as target:
        selection = context.select(op)
        context.digest(op)
        between()
        return copy(op, selection, target)


class TestChangesMeanwhile:
    def test_a_directory_becomes_a_link_out(self, root: Path, image: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret/f").write_text("secret")
        (root / "d/sub").mkdir(parents=True)
        (root / "d/sub/f").write_text("mine")

        def swap() -> None:
            (root / "d/sub").rename(root / "old")
            (root / "d/sub").symlink_to(tmp_path / "secret")

        with pytest.raises(Failed, match='"/d/sub" changed while the build was reading it'):
            run(root, image, "d", between=swap)
        assert not (image / "x/sub/f").exists()

    def test_a_parent_becomes_a_link_out(self, root: Path, image: Path, tmp_path: Path) -> None:
        (tmp_path / "secret/sub").mkdir(parents=True)
        (tmp_path / "secret/sub/f").write_text("secret")
        (root / "d/sub").mkdir(parents=True)
        (root / "d/sub/f").write_text("mine")

        def swap() -> None:
            (root / "d").rename(root / "old")
            (root / "d").symlink_to(tmp_path / "secret")

        with pytest.raises(Failed, match="changed while the build was reading it"):
            run(root, image, "d/sub/f", between=swap)
        assert not (image / "x/f").exists()

    def test_while_scanning(self, root: Path, tmp_path: Path) -> None:
        """A thread that swaps a directory and a link without pause: what is found is always the context's own."""
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret/leaked").write_text("secret")
        (root / "d").mkdir()
        (root / "d/f").write_text("mine")
        (root / "link").symlink_to(tmp_path / "secret")
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                os.rename(root / "d", root / "away")
                os.rename(root / "link", root / "d")
                os.rename(root / "d", root / "link")
                os.rename(root / "away", root / "d")

        thread = threading.Thread(target=swap)
        thread.start()
        outcomes = set()
        try:
            for _ in range(300):
                try:
                    with Context(str(root)) as context:
                        selection = context.select((".",))
                        context.digest((".",))
                        outcomes.update(
                            entry[0] for directory in selection.directories for entry in directory.entries()
                        )
                except CaisError as error:
                    outcomes.add(type(error).__name__)
        finally:
            stop.set()
            thread.join()
        assert "f" in outcomes
        assert "leaked" not in outcomes

    def test_a_file_becomes_a_fifo(self, root: Path, image: Path) -> None:
        (root / "f").write_text("text")

        def swap() -> None:
            (root / "f").unlink()
            os.mkfifo(root / "f")

        with pytest.raises(Failed, match='"/f" changed'):
            run(root, image, "f", between=swap)

    def test_a_file_becomes_a_link_out(self, root: Path, image: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        (root / "f").write_text("text")

        def swap() -> None:
            (root / "f").unlink()
            (root / "f").symlink_to(tmp_path / "secret")

        with pytest.raises(Failed, match='"/f" changed'):
            run(root, image, "f", between=swap)

    def test_a_file_gets_another_content(self, root: Path, image: Path) -> None:
        (root / "f").write_text("text")
        report = run(root, image, "f", between=lambda: (root / "f").write_text("another"))
        assert report.changed == ("f",)
        assert (image / "x/f").read_text() == "another"

    def test_a_file_goes_away(self, root: Path, image: Path) -> None:
        (root / "d").mkdir()
        (root / "d/f").write_text("text")
        with pytest.raises(Failed, match='"/d/f" changed'):
            run(root, image, "d", between=lambda: (root / "d/f").unlink())

    def test_a_file_that_grows_while_it_is_hashed(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "f").write_text("text")
        plain = _Reader._entry

        def grow(self: _Reader, *rest: object) -> object:
            with open(root / "f", "a") as file:
                file.write("more")
            return plain(self, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(_Reader, "_entry", grow)
        with Context(str(root), cache=str(root.parent / "cache")) as context:
            context.digest(("f",))
            assert context.select(("f",)).changed == ["f"]


class TestSources:
    def test_a_fifo_is_copied_not_read(self, root: Path, image: Path) -> None:
        os.mkfifo(root / "fifo")
        assert run(root, image, "fifo").files == 1
        assert (image / "x/fifo").is_fifo()

    def test_links_to_devices_and_proc(self, root: Path, image: Path) -> None:
        for name, target in (("zero", "/dev/zero"), ("root", "/proc/self/root/etc/passwd"), ("fd", "/proc/self/fd/0")):
            (root / name).symlink_to(target)
            with pytest.raises(CaisError, match=f'"/{name}": not found'):
                run(root, image, name)

    def test_the_context_itself_may_be_a_link(self, root: Path, image: Path, tmp_path: Path) -> None:
        (root / "f").write_text("text")
        (tmp_path / "link").symlink_to(root)
        assert run(tmp_path / "link", image, "f").files == 1

    def test_many_links_in_a_row(self, root: Path, image: Path) -> None:
        (root / "l0").write_text("text")
        for number in range(1, 200):
            (root / f"l{number}").symlink_to(f"l{number - 1}")
        run(root, image, "l199")
        assert (image / "x/l199").read_text() == "text"

    def test_a_link_that_doubles(self, root: Path, image: Path) -> None:
        """a -> b/b, b -> c/c, ...: without a limit this takes for ever."""
        (root / "d").mkdir()
        previous = "d"
        for number in range(40):
            (root / f"l{number}").symlink_to(f"{previous}/../{previous}")
            previous = f"l{number}"
        with pytest.raises(CaisError, match="too many links"):
            run(root, image, previous)

    def test_a_thousand_levels(self, root: Path, image: Path) -> None:
        """Deeper than the interpreter's recursion limit, and than there are descriptors."""
        deep = "/".join(["d"] * 1500)
        for level in range(1, 1501):
            os.mkdir(f"{root}/{deep[: level * 2 - 1]}")
        (root / deep / "f").write_text("deep")
        try:
            run(root, image, ".")
            assert (image / "x" / deep / "f").read_text() == "deep"
        finally:
            # pytest's own clean-up is recursive, and would fail.
            remove_tree(str(root))
            remove_tree(str(image))

    def test_the_unreadable(self, root: Path, image: Path, in_child: Callable[[Callable[[], object]], str]) -> None:
        (root / "d").mkdir()
        (root / "d/locked").write_text("no")
        (root / "d/locked").chmod(0)
        (root / "e/closed").mkdir(parents=True)
        (root / "e/closed").chmod(0)

        syscalls.load()

        def ordinary() -> str:
            with Context(str(root)) as context:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                said = []
                for source in ("d", "e"):
                    try:
                        context.digest((source,))
                    except Denied as error:
                        said.append(str(error))
                return "|".join(said)

        os.chmod(root.parent, 0o755)
        for parent in root.parents:
            if str(parent).startswith("/tmp/") and os.stat(parent).st_uid == os.getuid():
                os.chmod(parent, os.stat(parent).st_mode | 0o011)
        assert in_child(ordinary) == (
            'cannot read "/d/locked" of the build context: Permission denied|'
            'cannot read "/e/closed" of the build context: Permission denied'
        )


class TestReuse:
    """Files of an earlier result are linked only where a copy would have made the same."""

    @pytest.fixture
    def again(self, root: Path, tmp_path: Path) -> Callable[..., tuple[CopyReport, Path]]:
        """Copies, changes something, copies again with the first result at hand."""

        def run(change: Callable[[], object], *, before: Callable[[Path], object] = lambda layer: None,
                epoch: int | None = None, **flags: str) -> tuple[CopyReport, Path]:  # fmt: skip
            op = Copy((".",), "/app/", **flags)  # type: ignore[arg-type]
            first, second = tmp_path / "first", tmp_path / "second"
            for layer in (first, second):
                layer.mkdir()
            with Context(str(root)) as context, LayerTarget(str(first), None) as target:
                copy(op, context.select(op), target)
                listing = context.listing(op)
            before(first)
            change()
            reuse = Reuse(str(first), listing, epoch=epoch)
            try:
                with Context(str(root)) as context, LayerTarget(str(second), None) as target:
                    report = copy(op, context.select(op), target, reuse=reuse)
            finally:
                reuse.close()
            return report, second / "app"

        for name in ("a", "b", "d/c"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(name)
        return run

    def test_unchanged(self, again: Callable[..., tuple[CopyReport, Path]], tmp_path: Path) -> None:
        report, result = again(lambda: None)
        assert (report.linked, report.files) == (3, 3)
        assert (result / "d/c").stat().st_ino == (tmp_path / "first/app/d/c").stat().st_ino

    def test_one_content(self, again: Callable[..., tuple[CopyReport, Path]], root: Path) -> None:
        status = (root / "b").stat()

        def change() -> None:
            (root / "b").write_text("B")
            os.utime(root / "b", ns=(status.st_atime_ns, status.st_mtime_ns))

        report, result = again(change)
        assert report.linked == 2
        assert (result / "b").read_text() == "B"

    @pytest.mark.parametrize("what", ["mode", "time", "attribute", "new", "kind"])
    def test_other_changes(self, again: Callable[..., tuple[CopyReport, Path]], root: Path, what: str) -> None:
        def change() -> None:
            if what == "mode":
                (root / "a").chmod(0o755)
            elif what == "time":
                os.utime(root / "a", (1, 1))
            elif what == "attribute":
                os.setxattr(root / "a", "user.k", b"v")
            elif what == "new":
                (root / "d/new").write_text("new")
            else:
                (root / "a").unlink()
                (root / "a").symlink_to("b")

        report, result = again(change)
        assert report.linked == (3 if what == "new" else 2)
        for name in ("a", "b", "d/c"):
            ours, theirs = (result / name).lstat(), (root / name).lstat()
            assert (ours.st_mode, ours.st_mtime_ns, ours.st_size) == (
                theirs.st_mode,
                theirs.st_mtime_ns,
                theirs.st_size,
            )

    def test_a_tampered_layer(self, again: Callable[..., tuple[CopyReport, Path]]) -> None:
        report, _ = again(lambda: None, before=lambda layer: os.chown(layer / "app/a", 5, 5))
        assert report.linked == 2

    def test_flags(self, again: Callable[..., tuple[CopyReport, Path]]) -> None:
        report, result = again(lambda: None, chown="5:6", chmod="640")
        assert report.linked == 3
        assert (result / "d/c").stat().st_uid == 5

    def test_times_newer_than_the_epoch_are_not_shared(self, again: Callable[..., tuple[CopyReport, Path]]) -> None:
        """The commit would change the time of the file that both layers share."""
        report, _ = again(lambda: None, epoch=1)
        assert report.linked == 0
