"""Solving: what runs beside what, what ends it, and that the order in which steps end changes nothing.

The executor here only makes up layers; what carries out steps for real is tested in ``test_execute.py``.
"""

from __future__ import annotations

import hashlib
import random
import threading

import pytest

from cais.build.graph import Copy, Exec, LocalSource, Origin, Vertex, reachable
from cais.build.plan import Facts, Planner
from cais.build.records import Records
from cais.build.solve import Solver, needed
from cais.engine import Settings
from cais.engine.stores import Stores
from cais.errors import Cancelled, Failed
from cais.snapshot.store import Layer
from cais.spec.digest import Digest


class Made:
    """Makes a layer of a step's text and its inputs; ``before`` is called first, with the step's text."""

    def __init__(self, stores: Stores, before=lambda text: None) -> None:
        self.stores = stores
        self.before = before
        self.ran: list[str] = []
        self.previous: dict[str, object] = {}
        self.stopped = threading.Event()
        self.gone: set[Digest] = set()
        self.unsettled: set[str] = set()
        self.lock = threading.Lock()

    def execute(self, vertex, inputs, id, previous):
        text = vertex.origin.text
        with self.lock:
            self.ran.append(text)
            self.previous[text] = previous
        self.before(text)
        made = hashlib.sha256(repr((vertex.op, [result.chain for result in inputs])).encode()).hexdigest()
        chain = Digest(f"sha256:{made}")
        with self.stores.database.transaction() as change:
            change.execute("INSERT OR IGNORE INTO snapshots (id, chain_id, lease) VALUES (?, ?, '')", (made[:8], chain))
        self.gone.discard(chain)
        return Layer(chain, chain, 1, inputs[0].chain if inputs else None)

    def content(self, vertex, source):
        return Digest.of(b"the same, whatever the source")

    def hold(self, chain):
        if chain not in self.gone:
            return True
        with self.stores.database.transaction() as change:
            change.execute("DELETE FROM snapshots WHERE chain_id = ?", (chain,))
        return False

    def is_settled(self, vertex):
        return vertex.origin.text not in self.unsettled

    def listing(self, vertex):
        return None

    def cancel(self):
        self.stopped.set()


class Graph:
    """Vertices by name: ``run("b", "a")`` stands on ``a``."""

    def __init__(self) -> None:
        self.vertices: dict[str, Vertex] = {}

    def run(self, name: str, below: str = "", command: str = "") -> Vertex:
        op = Exec((command or name,), (), "/")
        return self._add(name, op, (self.vertices.get(below),))

    def copy(self, name: str, below: str, *sources: str) -> Vertex:
        op = Copy((name,), "/", from_context=False)
        return self._add(name, op, (self.vertices.get(below), *(self.vertices[source] for source in sources)))

    def _add(self, name, op, inputs):
        origin = Origin(len(self.vertices) + 1, len(self.vertices) + 1, name, "stage", len(self.vertices) + 1, 9)
        self.vertices[name] = Vertex(op, inputs, origin)
        return self.vertices[name]


@pytest.fixture
def stores(tmp_path):
    stores = Stores(Settings(str(tmp_path / "root")))
    yield stores
    stores.close()


def solve(stores, target, executor, workers=4, no_cache=False):
    """The target's result, and the events."""
    vertices = reachable(target)
    records = Records(stores.database)
    planner = Planner(Facts({}, {}, None, no_cache), records, "scope")
    verdicts = planner.plan(vertices)
    events: list[dict] = []
    ids = {vertex: number for number, vertex in enumerate(vertices, 1)}
    solver = Solver(planner, records, executor, events.append, ids, workers)
    if verdicts[target].state == "hit":
        return verdicts[target].result, events
    solver.solve(vertices, verdicts, target)
    return solver.results[target], events


def diamond() -> Graph:
    graph = Graph()
    graph.run("root")
    for number in range(8):
        graph.run(f"side{number}", "root")
    graph.copy("top", "side0", *(f"side{number}" for number in range(1, 8)))
    return graph


def test_all_that_can_run_at_once_does(stores):
    barrier = threading.Barrier(8, timeout=30)
    executor = Made(stores, lambda text: text.startswith("side") and barrier.wait())
    graph = diamond()
    solve(stores, graph.vertices["top"], executor, workers=8)
    assert executor.ran[0] == "root" and executor.ran[-1] == "top" and len(executor.ran) == 10


def test_no_more_than_the_workers(stores):
    running, most = set(), []
    lock = threading.Lock()

    def before(text):
        with lock:
            running.add(text)
            most.append(len(running))
        for _ in range(1000):
            pass
        with lock:
            running.discard(text)

    solve(stores, diamond().vertices["top"], Made(stores, before), workers=3)
    assert max(most) <= 3
    most.clear()
    solve(stores, diamond().vertices["top"], Made(stores, before), workers=1, no_cache=True)
    assert max(most) == 1


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_result_does_not_depend_on_who_ends_first(stores, workers):
    """Steps end in an order drawn by lot: each waits until its turn has come."""
    expected, _ = solve(stores, diamond().vertices["top"], Made(stores), workers=1)
    for seed in range(5):
        chance = random.Random(seed)
        turn = threading.Condition()
        waiting: list[str] = []

        def before(text, chance=chance, turn=turn, waiting=waiting):
            with turn:
                waiting.append(text)
                turn.notify_all()
                turn.wait_for(lambda: len(waiting) < 2 or chance.random() < 0.5 or waiting[0] == text, timeout=0.01)
                waiting.remove(text)
                turn.notify_all()

        result, _ = solve(stores, diamond().vertices["top"], Made(stores, before), workers, no_cache=True)
        assert result.chain == expected.chain and result.layer.diff_id == expected.layer.diff_id


def test_a_hit_is_not_run_and_what_is_only_below_hits_is_not_looked_at(stores):
    graph = diamond()
    solve(stores, graph.vertices["top"], Made(stores))
    graph.run("more", "top")
    executor = Made(stores)
    _, events = solve(stores, graph.vertices["more"], executor)
    assert executor.ran == ["more"] and {event["id"] for event in events} == {11}
    planner = Planner(Facts({}, {}), Records(stores.database), "scope")
    verdicts = planner.plan(reachable(graph.vertices["more"]))
    assert needed([graph.vertices["more"]], verdicts) == set()


def test_the_executor_is_told_of_the_last_time(stores):
    graph = Graph()
    graph.run("step", command="one")
    solve(stores, graph.vertices["step"], Made(stores))
    graph = Graph()
    graph.run("step", command="two")
    executor = Made(stores)
    _, events = solve(stores, graph.vertices["step"], executor)
    assert executor.previous["step"].parts["args"] == ["one"]
    assert [event["reason"] for event in events if event["event"] == "miss"] == ["the command: one → two"]


def test_a_copy_of_the_same_content_is_a_hit_with_a_step_in_between_that_was_not(stores):
    def graph(command: str) -> Graph:
        made = Graph()
        made.run("base")
        made.run("make", command=command)
        made.copy("copy", "base", "make")
        made.run("last", "copy")
        return made

    first, _ = solve(stores, graph("one").vertices["last"], Made(stores))
    executor = Made(stores)
    second, events = solve(stores, graph("two").vertices["last"], executor)
    assert executor.ran == ["make"] and second.chain == first.chain
    names = [event["id"] for event in events if event["event"] == "cached"]
    assert len(names) == 2
    executor = Made(stores)
    solve(stores, graph("two").vertices["last"], executor)
    assert executor.ran == []


def test_a_hit_that_is_collected_before_it_is_held_is_built_again(stores):
    def graph(command: str) -> Graph:
        made = Graph()
        made.run("base")
        made.run("make", command=command)
        made.copy("copy", "base", "make")
        made.run("last", "copy")
        return made

    first, _ = solve(stores, graph("one").vertices["copy"], Made(stores))
    executor = Made(stores)
    executor.gone.add(first.chain)
    second, events = solve(stores, graph("two").vertices["copy"], executor)
    assert executor.ran == ["make", "copy"] and second.chain != ""
    assert [event["event"] for event in events if event["id"] == 3] == ["start", "miss", "done"]


def test_what_is_not_settled_is_not_recorded_and_what_stands_on_it_is(stores):
    graph = Graph()
    graph.run("unsettled")
    graph.run("upon", "unsettled")
    executor = Made(stores)
    executor.unsettled.add("unsettled")
    solve(stores, graph.vertices["upon"], executor)
    executor = Made(stores)
    solve(stores, graph.vertices["upon"], executor)
    assert executor.ran == ["unsettled"], "it came out the same"


class TestFailure:
    def graph(self) -> Graph:
        graph = Graph()
        graph.run("wrong")
        graph.run("slow")
        graph.run("after", "slow")
        graph.copy("top", "after", "wrong")
        return graph

    def test_it_stops_the_others_and_is_raised(self, stores):
        started = threading.Event()
        executor = Made(stores)

        def before(text):
            if text == "wrong":
                assert started.wait(30)
                raise Failed("it is wrong")
            started.set()
            assert executor.stopped.wait(30), "nobody said stop"
            raise Cancelled("stopped")

        executor.before = before
        with pytest.raises(Failed, match="it is wrong") as error:
            solve(stores, self.graph().vertices["top"], executor)
        assert error.value.span == (1, 1)
        assert sorted(executor.ran) == ["slow", "wrong"]

    def test_it_is_told_though_one_that_it_stopped_ended_earlier(self, stores):
        """A step may notice the stop before the failure has come up."""
        begun, stopped = threading.Event(), threading.Event()

        def before(text):
            if text == "slow":
                assert begun.wait(30)
                stopped.set()
                raise Cancelled("stopped")
            begun.set()
            assert stopped.wait(30)
            raise Failed("it is wrong")

        with pytest.raises(Failed, match="it is wrong"):
            solve(stores, self.graph().vertices["top"], Made(stores, before))

    def test_one_that_is_no_error_of_ours(self, stores):
        def before(text):
            raise MemoryError("none left")

        with pytest.raises(MemoryError, match="none left"):
            solve(stores, self.graph().vertices["top"], Made(stores, before))

    def test_an_error_of_the_display(self, stores):
        graph = self.graph()
        vertices = reachable(graph.vertices["top"])
        records = Records(stores.database)
        planner = Planner(Facts({}, {}), records, "scope")

        def progress(event):
            raise BrokenPipeError("gone")

        ids = {vertex: number for number, vertex in enumerate(vertices, 1)}
        solver = Solver(planner, records, Made(stores), progress, ids, 2)
        with pytest.raises(BrokenPipeError):
            solver.solve(vertices, planner.plan(vertices), graph.vertices["top"])

    def test_no_thread_is_left(self, stores):
        before = threading.active_count()
        self.test_it_stops_the_others_and_is_raised(stores)
        assert threading.active_count() == before


def test_a_context_is_no_step(stores):
    graph = Graph()
    source = Vertex(LocalSource(), (), Origin(1, 1, "", "internal"))
    vertex = Vertex(Copy(("x",), "/", from_context=True), (None, source), Origin(2, 2, "COPY", "stage", 1, 1))
    graph.vertices["copy"] = vertex
    executor = Made(stores)
    _, events = solve(stores, vertex, executor)
    assert executor.ran == ["COPY"] and len({event["id"] for event in events}) == 1


class TestEqualSteps:
    """Two vertices with one key: one of them works, the other one waits for it and takes what it made."""

    @pytest.mark.parametrize("no_cache", [False, True])
    def test_it_is_done_once(self, stores, no_cache):
        graph = Graph()
        for name in ("one", "other"):
            graph.run(f"before {name}", command=name)
            graph.vertices[f"before {name}"].op = graph.vertices["before one"].op
        graph.run("a", "before one", "same")
        graph.run("b", "before other", "same")
        graph.copy("top", "a", "b")
        executor = Made(stores)
        result, events = solve(stores, graph.vertices["top"], executor, workers=4, no_cache=no_cache)
        assert sorted(text[:6] for text in executor.ran) in (["a", "before", "top"], ["b", "before", "top"])
        assert len([event for event in events if event["event"] == "cached"]) == 2
        assert result.chain is not None

    def test_the_one_that_waits_stops_when_the_other_fails(self, stores):
        graph = Graph()
        graph.run("a", command="same")
        graph.run("b", command="same")
        graph.copy("top", "a", "b")

        def before(text):
            raise Failed(text)

        executor = Made(stores, before)
        with pytest.raises(Failed, match=r"[ab]"):
            solve(stores, graph.vertices["top"], executor, workers=4)
        assert executor.ran in (["a"], ["b"])
