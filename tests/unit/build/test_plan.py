from __future__ import annotations

import json

from cais.build.graph import Copy, Exec, LocalSource, Origin, SourceImage, Vertex, reachable
from cais.build.listing import Change
from cais.build.plan import Facts, Planner, Result
from cais.build.records import Pruned, Record
from cais.spec.digest import Digest
from cais.spec.platform import Platform

ORIGIN = Origin(1, 1, "RUN x", "stage", 1)


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


class Kept:
    """Records in memory: what the database keeps, as a value."""

    def __init__(self) -> None:
        self.by_key: dict[str, Record] = {}
        self.gone: dict[str, Pruned] = {}
        self.listings: dict[str, bytes] = {}

    def find(self, key):
        return self.by_key.get(key)

    def earlier(self, mark):
        own = [record for record in self.by_key.values() if record.step == mark.step or record.stage == mark.stage]
        return own + [record for record in self.by_key.values() if record.instruction == mark.instruction]

    def pruned(self, key, step):
        return self.gone.get(key) or self.gone.get(step)

    def listing(self, digest):
        return self.listings.get(digest)

    def put(self, planner: Planner, vertex: Vertex, verdict, result: str) -> None:
        mark = planner.mark(vertex)
        parts = json.loads(json.dumps(verdict.parts))
        record = Record(verdict.key, mark.step, digest(result), digest(result + "d"), 10, 0, parts, *mark[1:])
        self.by_key = {record.key: record, **self.by_key}


def base() -> Vertex:
    return Vertex(SourceImage("docker.io/library/debian:latest", Platform()), (), Origin(1, 1, "FROM debian", "s", 0))


def run(below: Vertex | None, command: str = "make", step: int = 1, env: tuple[tuple[str, str], ...] = ()) -> Vertex:
    return Vertex(Exec(("sh", "-c", command), env, "/"), (below,), Origin(step, step, f"RUN {command}", "s", step))


def planner(kept: Kept, vertices, *, base_chain="base", selections=None, scope="Dockerfile", **facts) -> Planner:
    bases = {vertex: digest(base_chain) for vertex in vertices if isinstance(vertex.op, SourceImage)}
    changed = [Change('"a.txt"', "content", "1", "2")]
    return Planner(Facts(bases, selections or {}, **facts), kept, scope, lambda old, new: changed, f"/{scope}")


def build(kept: Kept, vertices, results, **facts) -> None:
    """Plans, and records a result for each step in turn, as a solver would."""
    for vertex, result in zip([v for v in vertices if isinstance(v.op, (Exec, Copy))], results, strict=True):
        p = planner(kept, vertices, **facts)
        kept.put(p, vertex, p.plan(vertices)[vertex], result)


def test_a_graph_that_was_built_is_all_hits():
    first = base()
    vertices = reachable(run(run(first, "a", 1), "b", 2))
    kept = Kept()
    assert [v.state for v in planner(kept, vertices).plan(vertices).values()] == ["hit", "miss", "pending"]
    build(kept, vertices, ["ra", "rb"])
    verdicts = planner(kept, vertices).plan(vertices)
    assert {verdict.state for verdict in verdicts.values()} == {"hit"}
    assert verdicts[vertices[-1]].result.chain == digest("rb")


def test_the_same_graph_made_again_has_the_same_keys():
    kept = Kept()
    one, other = reachable(run(base())), reachable(run(base()))
    assert planner(kept, one).plan(one)[one[-1]].key == planner(kept, other).plan(other)[other[-1]].key


def test_a_changed_command_says_so_with_before_and_after():
    kept = Kept()
    old = reachable(run(base(), "make"))
    build(kept, old, ["r"])
    new = reachable(run(base(), "make -j2"))
    verdict = planner(kept, new).plan(new)[new[-1]]
    assert verdict.state == "miss"
    assert [str(reason) for reason in verdict.reasons] == ["the command: sh -c make → sh -c make -j2"]


def test_a_changed_variable_is_named():
    kept = Kept()
    build(kept, (old := reachable(run(base(), env=(("V", "1"), ("X", "same"))))), ["r"])
    new = reachable(run(base(), env=(("V", "2"), ("X", "same"))))
    assert [str(r) for r in planner(kept, new).plan(new)[new[-1]].reasons] == ["the variable V: 1 → 2"]
    assert planner(kept, old).plan(old)[old[-1]].state == "hit"


def test_a_changed_base_image_is_the_reason_of_the_first_step_only():
    kept = Kept()
    vertices = reachable(run(run(base(), "a", 1), "b", 2))
    build(kept, vertices, ["ra", "rb"])
    verdicts = list(planner(kept, vertices, base_chain="newer").plan(vertices).values())
    assert [verdict.state for verdict in verdicts] == ["hit", "miss", "pending"]
    assert str(verdicts[1].reasons[0]).startswith("the base image docker.io/library/debian:latest: ")


def test_a_step_whose_input_came_out_the_same_is_a_hit_again():
    kept = Kept()
    second = run(run(base(), "a", 1), "b", 2)
    vertices = reachable(second)
    build(kept, vertices, ["ra", "rb"])
    changed = run(run(base(), "a # comment", 1), "b", 2)
    p = planner(kept, reachable(changed))
    assert p.plan(reachable(changed))[changed].state == "pending"
    assert p.judge(changed, [Result(digest("ra"))]).state == "hit"


def test_files_that_changed_are_named_by_the_listings():
    kept = Kept()
    source = Vertex(LocalSource(), (), ORIGIN)
    copy = Vertex(Copy(("src",), "/src/"), (None, source), Origin(2, 2, "COPY src /src/", "s", 1))
    vertices = reachable(copy)
    kept.listings = {digest("one"): b"one", digest("two"): b"two"}
    build(kept, vertices, ["r"], selections={copy: digest("one")})
    assert planner(kept, vertices, selections={copy: digest("one")}).plan(vertices)[copy].state == "hit"
    verdict = planner(kept, vertices, selections={copy: digest("two")}).plan(vertices)[copy]
    assert [str(reason) for reason in verdict.reasons] == ['the file "a.txt": content 1 → 2']


def test_no_cache_and_another_epoch_miss():
    kept = Kept()
    vertices = reachable(run(base()))
    build(kept, vertices, ["r"])
    assert planner(kept, vertices, no_cache=True).plan(vertices)[vertices[-1]].state == "miss"
    verdict = planner(kept, vertices, epoch=5).plan(vertices)[vertices[-1]]
    assert verdict.state == "miss" and "SOURCE_DATE_EPOCH" in str(verdict.reasons[0])


def test_hidden_variables_are_in_no_key():
    kept = Kept()
    plain = run(base())
    hidden = Vertex(plain.op._replace(hidden_env=(("HTTP_PROXY", "secret"),)), plain.inputs, plain.origin)
    keys = set()
    for vertex in (plain, hidden):
        vertices = reachable(vertex)
        verdict = planner(kept, vertices).plan(vertices)[vertex]
        keys.add(verdict.key)
        assert "secret" not in str(verdict.parts)
    assert len(keys) == 1


def test_a_hundred_stages_are_planned_quickly_enough_to_count():
    """Counted, not timed: each vertex is looked up once."""
    kept = Kept()
    looked = []
    find = kept.find
    kept.find = lambda key: (looked.append(key), find(key))[1]
    bottom = base()
    stages = [run(bottom, f"stage {n}", n) for n in range(100)]
    vertices = reachable(*stages)
    planner(kept, vertices).plan(vertices)
    assert len(vertices) == 101 and len(looked) == 100
