"""The context: what its rules leave out, what identifies its content, and what is remembered of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cais.build.context import Context, select_from
from cais.build.graph import Copy
from cais.build.hashing import digest_of
from cais.build.scan import select
from cais.build.selection import walk
from cais.build.tree import Tree
from cais.errors import CaisError, Invalid, NotFound

OLD = 1_500_000_000 * 10**9


def write(path: Path, data: str = "x", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(data))
    path.chmod(mode)
    os.utime(path, ns=(OLD, OLD))
    return path


def paths(root: Path, *sources: str, dockerfile: str = "") -> list[str]:
    with Context(str(root), dockerfile) as context:
        selection = context.select(sources or (".",))
        found = [path for path, entry in walk(selection)]
        return sorted(found + [source.path for source in selection.sources if not source.is_directory])


def chosen(root: Path, *sources: str, exclude: tuple[str, ...] = (), parents: bool = False) -> list[str]:
    """Paths that a COPY with these flags takes; directories that only lead to others in brackets."""
    with Context(str(root)) as context:
        selection = context.select(Copy(sources, "/x", exclude=exclude, parents=parents))
        found = [f"({path})" if path in selection.leading else path for path, entry in walk(selection)]
        return sorted(found + [source.path for source in selection.sources if not source.is_directory])


def key(root: Path, *sources: str, cache: str = "") -> str:
    with Context(str(root), cache=cache) as context:
        return context.digest(sources or (".",))


class TestOpening:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="not found"):
            Context(str(tmp_path / "none"))

    def test_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match="is not a directory"):
            Context(str(write(tmp_path / "f")))

    def test_a_bare_exclamation_mark(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "a\n!\n")
        with pytest.raises(Invalid, match="illegal exclusion pattern"):
            Context(str(tmp_path))


class TestIgnoring:
    def test_files_and_directories(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "*.log\nbuild\n.dockerignore\n")
        write(tmp_path / "a.c")
        write(tmp_path / "a.log")
        write(tmp_path / "build/x/y")
        write(tmp_path / "sub/b.log")
        assert paths(tmp_path) == ["a.c", "sub", "sub/b.log"]

    def test_what_is_taken_back_below_an_ignored_directory(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "*\n!dir/keep\n!other\n")
        write(tmp_path / "dir/keep")
        write(tmp_path / "dir/drop/f")
        write(tmp_path / "gone/f")
        write(tmp_path / "other/f")
        assert paths(tmp_path) == ["dir", "dir/keep", "other", "other/f"]

    def test_an_ignored_directory_with_nothing_in_it_that_counts(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "dir\n!dir/*.keep\n")
        write(tmp_path / "dir/sub/deep/f")
        write(tmp_path / "f")
        assert paths(tmp_path) == [".dockerignore", "f"]

    def test_ignored_directories_are_not_read(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "big\n")
        write(tmp_path / "big/sub/f")
        write(tmp_path / "f")
        with Context(str(tmp_path)) as context:
            assert [item.path for item in context.select((".",)).directories] == [""]

    def test_what_nobody_names_is_not_read(self, tmp_path: Path) -> None:
        write(tmp_path / "big/sub/f")
        write(tmp_path / "src/f")
        with Context(str(tmp_path)) as context:
            assert [item.path for item in context.select(("src",)).directories] == ["src"]

    def test_the_dockerfiles_own_comes_first(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "a\n")
        write(tmp_path / "sub/my.Dockerfile.dockerignore", "b\n")
        write(tmp_path / "a")
        write(tmp_path / "b")
        assert paths(tmp_path, "[ab]", dockerfile=str(tmp_path / "sub/my.Dockerfile")) == ["a"]
        assert paths(tmp_path, "[ab]", dockerfile=str(tmp_path / "Dockerfile")) == ["b"]

    def test_a_wildcard_does_not_see_ignored_files(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "*.md\n!README.md\n")
        for name in ("README.md", "NOTES.md"):
            write(tmp_path / name)
        assert paths(tmp_path, "*.md") == ["README.md"]

    def test_an_ignored_file_is_missing_and_the_rule_is_named(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "# comment\n*.env\n")
        write(tmp_path / "my.env")
        with pytest.raises(NotFound) as error:
            paths(tmp_path, "my.env")
        assert str(error.value) == '"/my.env": not found'
        assert error.value.hint == "It is left out of the build context by line 2 of .dockerignore: *.env"

    def test_an_ignored_file_behind_a_link(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "secret\n")
        write(tmp_path / "secret")
        (tmp_path / "link").symlink_to("secret")
        with pytest.raises(NotFound, match='"/secret": not found'):
            paths(tmp_path, "link")

    def test_ignored_contents_of_an_ignored_source(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "dir/*\n!dir/a\n")
        write(tmp_path / "dir/a")
        write(tmp_path / "dir/b")
        assert paths(tmp_path, "dir") == ["dir/a"]


class TestMissing:
    def test_the_nearest_name(self, tmp_path: Path) -> None:
        write(tmp_path / "src/requirements.txt")
        with pytest.raises(NotFound) as error:
            paths(tmp_path, "src/requirement.txt")
        assert str(error.value) == '"/src/requirement.txt": not found'
        assert '"src/requirements.txt"' in error.value.hint

    def test_nothing_near(self, tmp_path: Path) -> None:
        write(tmp_path / "zzz")
        with pytest.raises(NotFound) as error:
            paths(tmp_path, "a/b")
        assert "Did you mean" not in error.value.hint

    def test_names_are_printable(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound) as error:
            paths(tmp_path, "a\nb\udcff")
        assert str(error.value) == '"/a\\nb\\xff": not found'

    def test_a_link_that_leaves_the_context(self, tmp_path: Path) -> None:
        root = tmp_path / "context"
        write(tmp_path / "secret")
        root.mkdir()
        (root / "up").symlink_to("../secret")
        (root / "absolute").symlink_to(tmp_path / "secret")
        for name in ("up", "absolute"):
            with pytest.raises(NotFound) as error:
                paths(root, name)
            assert str(error.value) == f'"/{name}": not found'
            assert f'"{name}" -> ' in error.value.hint
            assert "out of the build context" in error.value.hint

    def test_a_loop(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(Invalid, match="too many links"):
            paths(tmp_path, "a")


class TestIdentity:
    def tree(self, root: Path) -> Path:
        write(root / "a.txt", "a")
        write(root / "sub/b.txt", "b", 0o755)
        (root / "sub/link").symlink_to("b.txt")
        (root / "sub/empty").mkdir()
        return root

    def test_neither_place_nor_time_count(self, tmp_path: Path) -> None:
        one, two = self.tree(tmp_path / "one"), self.tree(tmp_path / "two")
        os.utime(two / "a.txt", (1, 1))
        assert key(one) == key(two)

    def test_what_counts(self, tmp_path: Path) -> None:
        root = self.tree(tmp_path / "one")
        seen = {key(root)}

        def changed(what: str) -> None:
            digest = key(root)
            assert digest not in seen, what
            seen.add(digest)

        write(root / "a.txt", "A")
        changed("content")
        (root / "a.txt").chmod(0o600)
        changed("mode")
        (root / "a.txt").rename(root / "c.txt")
        changed("name")
        (root / "sub/link").unlink()
        (root / "sub/link").symlink_to("nothing")
        changed("link target")
        (root / "sub/empty").rmdir()
        changed("an empty directory")
        (root / "sub").chmod(0o700)
        changed("mode of a directory")
        os.setxattr(root / "c.txt", "user.k", b"v")
        changed("extended attribute")
        os.setxattr(root / "sub", "user.k", b"v")
        changed("extended attribute of a directory")
        write(root / "sub/b.txt", "b" * (9 << 20))
        changed("a large file")
        with open(root / "sub/b.txt", "r+b") as file:
            file.seek(8_500_000)
            file.write(b"c")
        changed("a byte of its second piece")
        (root / "sub/b.txt").unlink()
        os.mkfifo(root / "sub/b.txt")
        changed("kind")

    def test_the_sources_directory_does_not_count_but_its_name_as_a_file_does(self, tmp_path: Path) -> None:
        for name in ("x", "y"):
            write(tmp_path / name / "f", "same")
        assert key(tmp_path, "x") == key(tmp_path, "y")
        assert key(tmp_path, "x/f") == key(tmp_path, "y/f")
        write(tmp_path / "x/g", "same")
        assert key(tmp_path, "x/g") != key(tmp_path, "x/f")

    def test_structure_cannot_be_forged(self, tmp_path: Path) -> None:
        write(tmp_path / "one/a/b")
        (tmp_path / "one/c").mkdir()
        write(tmp_path / "two/c/b")
        (tmp_path / "two/a").mkdir()
        assert key(tmp_path, "one") != key(tmp_path, "two")

    @pytest.mark.root
    def test_owners_count_in_a_stage_only(self, tmp_path: Path) -> None:
        self.tree(tmp_path / "one")

        def stage() -> str:
            tree, selection = select_from(str(tmp_path / "one"), Copy(("/",), "/"))
            with tree:
                return digest_of(selection)

        context, before = key(tmp_path / "one"), stage()
        os.chown(tmp_path / "one/a.txt", 5, 5)
        assert stage() != before
        assert key(tmp_path / "one") == context

    def test_hard_links_count_in_a_stage(self, tmp_path: Path) -> None:
        write(tmp_path / "one/a")
        write(tmp_path / "one/b")

        def stage() -> str:
            with Tree(str(tmp_path / "one")) as tree:
                return digest_of(select(tree, ["."], keep_owners=True))

        before = stage()
        (tmp_path / "one/b").unlink()
        os.link(tmp_path / "one/a", tmp_path / "one/b")
        assert stage() != before


class TestCache:
    """Whatever the cache says, the key is the one that is found without it."""

    def settled(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if the files had been written long ago: ctime cannot be set."""
        monkeypatch.setattr("cais.build.stat_cache.RACY_NANOSECONDS", -(10**15))
        monkeypatch.setattr("cais.build.hashing.RACY_NANOSECONDS", -(10**15))

    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        from cais.build import hashing

        seen: list[str] = []
        plain = hashing._Reader._entry

        def counted(self: hashing._Reader, descriptor: int, directory: str, entry: tuple) -> bytes | None:  # type: ignore[type-arg]
            seen.append(entry[0])
            return plain(self, descriptor, directory, entry)

        monkeypatch.setattr(hashing._Reader, "_entry", counted)
        return seen

    def test_unchanged_files_are_not_read_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settled(tmp_path, monkeypatch)
        root, cache = tmp_path / "c", str(tmp_path / "cache")
        for name in ("d/a", "d/b", "e/c"):
            write(root / name)
        seen = self.reads(monkeypatch)
        first = key(root, cache=cache)
        assert sorted(seen) == ["a", "b", "c", "d", "e"]
        seen.clear()
        assert key(root, cache=cache) == first
        assert seen == []
        write(root / "d/b", "changed")
        assert key(root, cache=cache) == key(root) != first

    def test_only_what_changed_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settled(tmp_path, monkeypatch)
        root, cache = tmp_path / "c", str(tmp_path / "cache")
        for name in ("d/a", "d/b", "e/c"):
            write(root / name)
        key(root, cache=cache)
        write(root / "d/b", "changed")
        write(root / "new", "new")
        seen = self.reads(monkeypatch)
        digest = key(root, cache=cache)
        assert sorted(seen) == ["b", "new"]
        assert digest == key(root)

    def test_a_file_that_just_changed_is_not_trusted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root, cache = tmp_path / "c", str(tmp_path / "cache")
        write(root / "f", "one")
        key(root, cache=cache)
        seen = self.reads(monkeypatch)
        key(root, cache=cache)
        assert seen == ["f"]

    def test_a_clock_set_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file "from the future": the scan's clock stands before the file's times."""
        root, cache = tmp_path / "c", str(tmp_path / "cache")
        write(root / "f", "one")
        monkeypatch.setattr("time.time_ns", lambda: OLD - 10**15)
        key(root, cache=cache)
        seen = self.reads(monkeypatch)
        key(root, cache=cache)
        assert seen == ["f"]

    def test_the_same_size_and_time_but_another_content(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settled(tmp_path, monkeypatch)
        root, cache = tmp_path / "c", str(tmp_path / "cache")
        write(root / "f", "one")
        first = key(root, cache=cache)
        write(root / "f", "two")  # with the old modification time
        assert key(root, cache=cache) != first

    @pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove", "directory", "garbage"])
    def test_a_broken_cache_only_costs_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
        self.settled(tmp_path, monkeypatch)
        root, cache = tmp_path / "c", tmp_path / "cache"
        for number in range(20):
            write(root / f"d{number % 3}/f{number}", str(number))
        expected = key(root, cache=str(cache))
        for file in cache.iterdir():
            data = bytearray(file.read_bytes())
            if damage == "truncate":
                data = data[: len(data) // 2]
            elif damage == "flip":
                for position in range(40, len(data), 97):
                    data[position] ^= 1
            elif damage == "garbage":
                data = bytearray(os.urandom(len(data)))
            elif damage == "empty":
                data = bytearray()
            file.unlink()
            if damage == "directory":
                file.mkdir()
            elif damage != "remove" and not (damage == "flip" and file.suffix == ".selections"):
                file.write_bytes(data)
        assert key(root, cache=str(cache)) == expected
        write(root / "d1/f1", "other")
        assert key(root, cache=str(cache)) == key(root) != expected

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        write(tmp_path / "c/f")
        blocked = write(tmp_path / "file")
        assert key(tmp_path / "c", cache=str(blocked / "sub")) == key(tmp_path / "c")

    def test_old_contexts_are_forgotten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cais.build.stat_cache._FILES_KEPT", 3)
        for number in range(6):
            write(tmp_path / f"c{number}/f")
            key(tmp_path / f"c{number}", cache=str(tmp_path / "cache"))
        assert len(list((tmp_path / "cache").iterdir())) == 3

    def test_two_selections_share_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settled(tmp_path, monkeypatch)
        root, cache = tmp_path / "c", str(tmp_path / "cache")
        write(root / "one/a")
        write(root / "two/b")
        with Context(str(root), cache=cache) as context:
            context.digest(("one",))
            context.digest(("two",))
            context.digest(("two/b",))
        seen = self.reads(monkeypatch)
        key(root, "one", "two", cache=cache)
        assert seen == []


class TestDifference:
    def listings(self, root: Path) -> bytes:
        with Context(str(root)) as context:
            return context.listing((".",))

    def test_added_removed_changed(self, tmp_path: Path) -> None:
        write(tmp_path / "same")
        write(tmp_path / "gone")
        write(tmp_path / "sub/text", "a")
        write(tmp_path / "script")
        old = self.listings(tmp_path)
        (tmp_path / "gone").unlink()
        write(tmp_path / "sub/text", "b")
        (tmp_path / "script").chmod(0o755)
        write(tmp_path / "new file")
        texts = Context.difference(old, self.listings(tmp_path))
        assert texts[:3] == ['"gone": removed', '"new file": added', '"script": mode 0644 → 0755']
        assert texts[3].startswith('"sub/text": content ca978112ca1b → 3e23e8160039')
        assert len(texts) == 4

    def test_only_the_first_few(self, tmp_path: Path) -> None:
        old = self.listings(tmp_path)
        for number in range(20):
            write(tmp_path / f"f{number:02}")
        texts = Context.difference(old, self.listings(tmp_path))
        assert len(texts) == 6
        assert texts[-1] == "... and 15 more"

    def test_a_single_file(self, tmp_path: Path) -> None:
        write(tmp_path / "d/f", "a")
        with Context(str(tmp_path)) as context:
            old = context.listing(("d/f",))
        write(tmp_path / "d/f", "b")
        with Context(str(tmp_path)) as context:
            new = context.listing(("d/f",))
        assert Context.difference(old, new)[0].startswith('"d/f": content ')

    def test_what_cannot_be_read(self) -> None:
        assert Context.difference(b"nonsense", b"") == ["(the list of files was not kept)"]

    def test_many_files_by_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cais.build.listing.FILES_LIMIT", 2)
        for number in range(5):
            write(tmp_path / f"d{number}/f")
        old = self.listings(tmp_path)
        write(tmp_path / "d3/f", "other")
        assert Context.difference(old, self.listings(tmp_path)) == ['"d3/": changed']


def test_an_error_names_the_unreadable(tmp_path: Path) -> None:
    """Paths beyond what the kernel takes in one call."""
    deep = tmp_path
    previous = os.getcwd()
    try:
        os.chdir(deep)
        for _ in range(40):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        with pytest.raises(CaisError, match="path is too long"):
            paths(tmp_path)
    finally:
        os.chdir(previous)


class TestExclude:
    def test_patterns_are_relative_to_the_source(self, tmp_path: Path) -> None:
        for name in ("src/a.md", "src/b.c", "src/sub/a.md", "a.md"):
            write(tmp_path / name)
        assert chosen(tmp_path, "src", exclude=("*.md",)) == ["src/b.c", "src/sub", "src/sub/a.md"]
        assert chosen(tmp_path, "src", exclude=("**/*.md",)) == ["src/b.c", "src/sub"]
        assert chosen(tmp_path, "src", exclude=("sub",)) == ["src/a.md", "src/b.c"]
        assert chosen(tmp_path, "src", exclude=("src/*.md",)) == ["src/a.md", "src/b.c", "src/sub", "src/sub/a.md"]
        assert chosen(tmp_path, ".", exclude=("src",)) == ["a.md"]

    def test_taken_back_in(self, tmp_path: Path) -> None:
        for name in ("d/sub/keep", "d/sub/drop", "d/other/drop", "d/f"):
            write(tmp_path / name)
        assert chosen(tmp_path, "d", exclude=("*", "!f", "!sub/keep")) == ["(d/sub)", "d/f", "d/sub/keep"]

    def test_all_of_a_directory(self, tmp_path: Path) -> None:
        write(tmp_path / "d/f")
        with Context(str(tmp_path)) as context:
            (source,) = context.select(Copy(("d*",), "/x", exclude=("*",))).sources
        assert source.is_directory  # so that the destination is made

    def test_files_that_a_source_names(self, tmp_path: Path) -> None:
        for name in ("home.txt", "home.c", "h/homer.txt"):
            write(tmp_path / name)
        assert chosen(tmp_path, "hom*", "h/hom*", exclude=("*.txt",)) == ["home.c"]
        assert chosen(tmp_path, "home.txt", exclude=("home.txt",)) == []

    def test_with_the_ignore_file(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "d/a\n")
        for name in ("d/a", "d/b", "d/c"):
            write(tmp_path / name)
        assert chosen(tmp_path, "d", exclude=("b",)) == ["d/c"]
        assert chosen(tmp_path, "d", exclude=("*", "!a", "!c")) == ["d/c"]

    def test_it_is_part_of_what_is_remembered(self, tmp_path: Path) -> None:
        write(tmp_path / "d/a")
        write(tmp_path / "d/b")
        with Context(str(tmp_path)) as context:
            digests = {
                context.digest(Copy(("d",), "/x", exclude=exclude)) for exclude in ((), ("a",), ("b",), ("none",))
            }
        assert len(digests) == 3

    def test_what_is_excluded_does_not_count(self, tmp_path: Path) -> None:
        write(tmp_path / "d/a")
        write(tmp_path / "d/b")
        op = Copy(("d",), "/x", exclude=("a",))
        found = set()
        for data in ("x", "y"):
            write(tmp_path / "d/a", data)
            with Context(str(tmp_path)) as context:
                found.add(context.digest(op))
        assert len(found) == 1

    @pytest.mark.parametrize("pattern", ["[a", "!", "a[]"])
    def test_malformed(self, tmp_path: Path, pattern: str) -> None:
        write(tmp_path / "d/a")
        with pytest.raises(Invalid):
            chosen(tmp_path, "d", exclude=(pattern,))


class TestParents:
    @pytest.fixture(autouse=True)
    def tree(self, tmp_path: Path) -> None:
        for name in ("a/b/c/d/foo", "a/b/c/d/e/bay", "a/b2/c/d/e/bar", "a/b/c2/d/e/baz", "a/b/c2/d/e2/baz", "z"):
            write(tmp_path / name)

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("/./z", ["z"]),
            ("/./a/b/c/d/foo", ["(a)", "(a/b)", "(a/b/c)", "(a/b/c/d)", "a/b/c/d/foo"]),
            ("a/b/./c/d/foo", ["(a/b/c)", "(a/b/c/d)", "a/b/c/d/foo"]),
            ("a/b/./c/d", ["(a/b/c)", "a/b/c/d", "a/b/c/d/e", "a/b/c/d/e/bay", "a/b/c/d/foo"]),
            ("a/./*/c/d/f*", ["(a/b)", "(a/b/c)", "(a/b/c/d)", "a/b/c/d/foo"]),
            ("a/b*/./c/**/ba?", [
                "(a/b/c)", "(a/b/c/d)", "(a/b/c/d/e)", "a/b/c/d/e/bay",
                "(a/b2/c)", "(a/b2/c/d)", "(a/b2/c/d/e)", "a/b2/c/d/e/bar",
            ]),
            ("/./**/e2", ["(a)", "(a/b)", "(a/b/c2)", "(a/b/c2/d)", "a/b/c2/d/e2", "a/b/c2/d/e2/baz"]),
            ("/./nothing*", []),
        ],
    )  # fmt: skip
    def test_chosen(self, tmp_path: Path, source: str, expected: list[str]) -> None:
        assert chosen(tmp_path, source, parents=True) == sorted(expected)

    def test_with_exclude(self, tmp_path: Path) -> None:
        assert chosen(tmp_path, "a/b/./c", exclude=("**/e",), parents=True) == [
            "a/b/c", "a/b/c/d", "a/b/c/d/foo",
        ]  # fmt: skip

    def test_only_what_may_match_is_read(self, tmp_path: Path) -> None:
        with Context(str(tmp_path)) as context:
            selection = context.select(Copy(("/./a/b/c/d/foo",), "/x", parents=True))
        assert [directory.path for directory in selection.directories] == ["", "a", "a/b", "a/b/c", "a/b/c/d"]

    @pytest.mark.parametrize("source", ["/./missing", "a/b/./missing", "none/./a", "z/./a"])
    def test_missing(self, tmp_path: Path, source: str) -> None:
        with pytest.raises(NotFound, match="not found"):
            chosen(tmp_path, source, parents=True)

    def test_an_ignored_one_is_missing(self, tmp_path: Path) -> None:
        write(tmp_path / ".dockerignore", "a/b/c/d/foo\n")
        with pytest.raises(NotFound, match="not found"):
            chosen(tmp_path, "/./a/b/c/d/foo", parents=True)

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "l").symlink_to("a")
        assert chosen(tmp_path, "/./l", parents=True) == ["l"]
