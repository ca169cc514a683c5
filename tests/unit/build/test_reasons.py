"""The reasons of a miss: what is compared with what, and how it is said."""

from __future__ import annotations

import pytest

from cais.build.graph import Copy, Exec, ExecMount, InlineFile, LocalSource, MakeDirectory, Origin, Vertex, reachable
from cais.build.plan import Result
from cais.build.reasons import NEW, Reason, narrowed, summary
from cais.build.records import Pruned
from cais.build.secret_names import looks_secret
from unit.build.test_plan import Kept, base, build, digest, planner, run


def texts(kept: Kept, vertex: Vertex, **options) -> list[str]:
    vertices = reachable(vertex)
    return [str(reason) for reason in planner(kept, vertices, **options).plan(vertices)[vertex].reasons]


def changed(old: Exec | Copy | MakeDirectory, new: Exec | Copy | MakeDirectory) -> list[str]:
    """The reasons where ``old`` was built and ``new`` stands at its place."""
    kept = Kept()
    below = base()
    before, after = (Vertex(op, (below,), Origin(2, 2, "STEP", "s", 1)) for op in (old, new))
    vertices = reachable(before)
    made = planner(kept, vertices)
    kept.put(made, before, made.plan(vertices)[before], "result")
    return texts(kept, after)


RUN = Exec(("sh", "-c", "make"), (), "/")
COPY = Copy(("src",), "/dst", (InlineFile("END", b"one"),), from_context=False)


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        (RUN, RUN._replace(cwd="/x"), ["the working directory: / → /x"]),
        (RUN, RUN._replace(user="ada"), ["the user: (none) → ada"]),
        (RUN, RUN._replace(network="none"), ["--network: default → none"]),
        (RUN, RUN._replace(security="insecure"), ["--security: (none) → insecure"]),
        (RUN, RUN._replace(hosts=(("a", "1.2.3.4"),)), ["--add-host: (none) → a 1.2.3.4"]),
        (RUN, RUN._replace(scripts=(("EOF", "#!x\none\n"),)), ["the here-document EOF: (none) → '#!x\\none\\n'"]),
        (
            RUN._replace(mounts=(ExecMount("cache", "/c", id="a"),)),
            RUN._replace(mounts=(ExecMount("cache", "/c", id="b"), ExecMount("tmpfs", "/t"))),
            ["the mount cache /c id: a → b", "the mount tmpfs /t: (none) → mounted"],
        ),
        (COPY, COPY._replace(parents=True), ["--parents: (none) → yes"]),
        (COPY, COPY._replace(exclude=("*.md",)), ["--exclude: (none) → *.md"]),
        (COPY, COPY._replace(chmod="755"), ["--chmod: (none) → 755"]),
        (COPY, COPY._replace(inline=(InlineFile("END", b"two"),)), None),
        (MakeDirectory("/a"), MakeDirectory("/b"), ["the path: /a → /b"]),
    ],
)
def test_every_part_is_named_with_before_and_after(old, new, reasons):
    found = changed(old, new)
    if reasons is None:
        assert len(found) == 1 and found[0].startswith("the here-document END: content ")
    else:
        assert [text for text in found if not text.startswith("the base image")] == reasons


def test_what_a_mount_shows_is_named_by_its_target():
    kept = Kept()
    below, source = base(), run(base(), "prepare", 1)
    op = RUN._replace(mounts=(ExecMount("bind", "/src", input=1),))
    vertex = Vertex(op, (below, source), Origin(3, 3, "RUN make", "s", 2))
    vertices = reachable(vertex)
    made = planner(kept, vertices)
    made.plan(vertices)
    inputs = [Result(digest("base")), Result(digest("old"))]
    kept.put(made, vertex, made.judge(vertex, inputs), "r")
    (reason,) = made.judge(vertex, [inputs[0], Result(digest("new"))]).reasons
    assert str(reason) == f"the files mounted at /src: {digest('old').short} → {digest('new').short}"


def test_values_of_what_is_called_like_a_secret_are_hidden():
    kept = Kept()
    build(kept, (old := reachable(run(base(), env=(("API_TOKEN", "hush"), ("PUBLIC_KEY", "p"))))), ["r"])
    new = run(base(), env=(("API_TOKEN", "psst"), ("PUBLIC_KEY", "q"), ("DB_PASSWORD", "new")))
    found = texts(kept, new)
    assert found == [
        "the variable API_TOKEN: (hidden) → (hidden)",
        "the variable DB_PASSWORD: (not set) → (hidden)",
        "the variable PUBLIC_KEY: p → q",
    ]
    assert old and looks_secret("MY_APIKEY") and not looks_secret("MONKEY")


def test_a_step_that_moved_is_compared_with_itself():
    kept = Kept()
    first = run(base(), "apt update", 1)
    build(kept, reachable(run(first, "make all", 2)), ["ra", "rb"])
    inserted = run(base(), "echo hello", 1)
    moved = run(inserted, "apt update", 2)
    vertices = reachable(moved)
    made = planner(kept, vertices)
    verdicts = made.plan(vertices)
    assert verdicts[inserted].reasons == (NEW,), "what stood there before is another step now"
    reasons = made.judge(moved, [Result(digest("hello"))]).reasons
    assert [str(reason) for reason in reasons] == ["it stands on another step: FROM debian → RUN echo hello"]


def test_a_changed_instruction_is_recognised_where_a_line_went_away():
    kept = Kept()
    build(kept, reachable(run(run(base(), "echo hello", 1), "make -j2 all", 2)), ["ra", "rb"])
    found = texts(kept, run(base(), "make -j4 all", 1))
    assert "the command: sh -c make -j2 all → sh -c make -j4 all" in found
    assert found[0].startswith("the base image docker.io/library/debian:latest: ")


def test_another_place_is_named():
    kept = Kept()
    vertices = reachable(run(base()))
    build(kept, vertices, ["r"])
    found = texts(kept, run(base(), env=(("A", "1"),)), scope="elsewhere")
    assert found == ["the variable A: (not set) → 1", "(compared with the same instruction of /Dockerfile)"]


def test_what_was_pruned_is_said_with_when_and_by_what():
    kept = Kept()
    vertex = run(base())
    vertices = reachable(vertex)
    key = planner(kept, vertices).plan(vertices)[vertex].key
    kept.gone = {key: Pruned(0.0, "cais builder prune", True)}
    assert texts(kept, vertex) == ["its result was removed by cais builder prune on 1970-01-01 00:00:00 UTC"]
    kept.gone = {planner(kept, vertices).step(vertex): Pruned(0.0, "", False)}
    assert texts(kept, vertex)[0].startswith("what it was before is not known: the records of it were removed on 1970")
    kept.gone = {}
    assert texts(kept, vertex) == ["this step was not built before"]


def test_long_and_hostile_values_are_cut_and_quoted():
    assert str(Reason("the command", "", "a\x1b[2J", "b" * 500)).startswith("the command: 'a\\x1b[2J' → bbb")
    assert len(str(Reason("the command", "", "x", "b" * 5000))) < 250
    assert narrowed("one\ntwo\nthree", "one\n2\nthree") == ("two", "2")


def test_a_summary_names_the_first_files_and_counts_the_rest():
    files = [Reason("the file", f"f{number}", kind="file-added") for number in range(8)]
    more = Reason("more files", "92", kind="files")
    text = summary([*files, more, Reason("the user", "", "a", "b")])
    assert text.startswith("the file f0: added; ") and text.count("added") == 5
    assert text.endswith("the user: a → b; ... and 95 more")


def test_files_of_a_directory_that_cannot_be_compared():
    kept = Kept()
    source = Vertex(LocalSource(), (), Origin(1, 1, "load", "internal"))
    copy = Vertex(Copy(("src",), "/src/"), (None, source), Origin(2, 2, "COPY src /src/", "s", 1))
    vertices = reachable(copy)
    build(kept, vertices, ["r"], selections={copy: digest("one")})
    verdict = planner(kept, vertices, selections={copy: digest("two")}).plan(vertices)[copy]
    assert str(verdict.reasons[0]) == f"the copied files: {digest('one').short} → {digest('two').short}"
