"""What a build reads besides its own directory: what ADD fetches, and the named contexts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence

from cais.build.context import Context
from cais.build.contexts import Contexts, TreeOp
from cais.build.graph import GitSource, HttpSource, Vertex
from cais.engine.build_options import BuildOptions
from cais.engine.stores import Stores
from cais.errors import CaisError, Unsupported
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.sources.files import Files
    from cais.sources.git import Repositories

FETCHED = (HttpSource, GitSource)
# At once; each may have its own server.
_THREADS = 8


class Sources:
    """``open`` gives a tree by its op; ``fetch`` all that a graph needs, before it is asked for."""

    def __init__(self, stores: Stores, options: BuildOptions) -> None:
        self._stores = stores
        self._options = options

    def open(self, op: TreeOp) -> Context:
        """Raises what fetching raises, NotFound and Invalid for a named context that is none."""
        return self._opened(op)[0]

    def fetch(
        self, vertices: Sequence[Vertex], contexts: Contexts, progress: Progress, ids: Mapping[Vertex, int]
    ) -> None:
        """Fetches what ``vertices`` take from elsewhere, several at once. Raises what the first failure raised."""
        wanted = [vertex for vertex in vertices if isinstance(vertex.op, FETCHED)]
        if not wanted:
            return
        pending = iter(wanted)
        lock = threading.Lock()
        failures: list[tuple[int, BaseException]] = []

        def work() -> None:
            while True:
                with lock:
                    vertex = None if failures else next(pending, None)
                if vertex is None:
                    return
                id = ids[vertex]
                started = time.monotonic()
                progress({"event": "start", "id": id})
                try:
                    assert isinstance(vertex.op, FETCHED)
                    context, known = self._opened(vertex.op)
                    contexts.put(vertex.op, context)
                except BaseException as error:
                    if isinstance(error, CaisError):
                        error.span = error.span or vertex.origin[:2]
                        progress({"event": "error", "id": id, "message": str(error)})
                    with lock:
                        failures.append((id, error))
                    return
                progress(
                    {"event": "cached", "id": id}
                    if known
                    else {"event": "done", "id": id, "seconds": time.monotonic() - started}
                )

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_THREADS, len(wanted)) - 1)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        if failures:
            raise min(failures, key=lambda item: item[0])[1]

    def _opened(self, op: TreeOp) -> tuple[Context, bool]:
        """The tree, and whether nothing new had to be fetched for it."""
        from cais.sources.files import tree_of

        if isinstance(op, HttpSource):
            kept, known = self.files.get(op.url, op.checksum, again=self._options.no_cache)
            return self._tree(tree_of(kept)), known
        if isinstance(op, GitSource):
            kept, known = self.repositories.get(
                op.url,
                op.reference,
                op.subdirectory,
                checksum=op.checksum,
                submodules=op.submodules,
                keep_git_directory=op.keep_git_directory,
            )
            return self._tree(tree_of(kept)), known
        raise Unsupported(f"{op!r} is not in this version of cais")

    def _tree(self, path: str) -> Context:
        return Context(path, cache=os.path.join(self._stores.root, "contexts"), ignoring=False)

    @property
    def files(self) -> Files:
        """What downloads by the user's proxies; a build argument wins over the environment."""
        from cais.sources.files import Files

        return Files(self._stores.sources, self._proxies)

    @property
    def repositories(self) -> Repositories:
        """What runs git, with little of the user's environment."""
        from cais.sources.command import Git
        from cais.sources.git import Repositories

        return Repositories(self._stores.sources, Git(self._options.environment, self._proxies))

    @property
    def _proxies(self) -> dict[str, str]:
        from cais.sources.proxies import proxy_variables

        return proxy_variables(self._options.build_args, self._options.environment)
