"""What a build reads besides its own directory: what ADD fetches, and the named contexts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence

from cais.build.context import Context
from cais.build.contexts import Contexts, TreeOp
from cais.build.graph import GitSource, HttpSource, LocalSource, Vertex
from cais.engine.build_options import BuildOptions
from cais.engine.stores import Stores
from cais.errors import CaisError, Cancelled
from cais.spec.progress import Progress, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.build_layouts import Layouted, Linked
    from cais.sources.files import Files
    from cais.sources.git import Repositories
    from cais.sources.git_urls import GitUrl
    from cais.sources.store import Kept

FETCHED = (HttpSource, GitSource)
# At once; each may have its own server.
_THREADS = 8


class Sources:
    """``open`` gives a tree by its op; ``fetch`` all that a graph needs, before it is asked for."""

    def __init__(self, stores: Stores, options: BuildOptions) -> None:
        """Raises NotFound and Invalid for named contexts that are none; nothing is fetched yet."""
        self._stores = stores
        self._options = options
        self.kept: dict[HttpSource | GitSource, Kept] = {}  # all that this build has read from elsewhere
        self.context: HttpSource | GitSource | None = None  # the build's own, where it is from elsewhere
        self._cancelled = threading.Event()
        # What lowering is told of the named contexts: an image, or files.
        self.lowered: dict[str, str] = {}
        self.layouts: dict[str, Layouted | Linked] = {}
        for name, value in options.contexts.items():
            self.lowered[name] = self._named(name, value)

    def _named(self, name: str, value: str) -> str:
        from cais.engine import named_contexts

        if value in self._options.linked:
            from cais.engine.build_layouts import Linked

            made = Linked.of(name, self._options.linked[value])
            self.layouts[made.reference] = made
            return f"docker-image://{made.reference}"
        kind = named_contexts.kind_of(name, value)
        if kind == "layout":
            from cais.engine.build_layouts import layouted

            found = layouted(self._stores, name, value)
            self.layouts[found.reference] = found
            return f"docker-image://{found.reference}"
        return value if kind == "image" else "files"

    def open(self, op: TreeOp) -> Context:
        """Raises what fetching raises, NotFound and Invalid for a named context that is none."""
        return self._opened(op)[0]

    def fetch(
        self, vertices: Sequence[Vertex], contexts: Contexts, progress: Progress, ids: Mapping[Vertex, int]
    ) -> None:
        """Fetches what ``vertices`` take from elsewhere, several at once. Raises what the first failure raised."""
        # Of the named contexts the directories are opened when they are read.
        wanted = [vertex for vertex in vertices if isinstance(vertex.op, FETCHED) or self._is_remote(vertex.op)]
        if not wanted:
            return
        from cais.host.threads import Thread

        pending = iter(wanted)
        lock = threading.Lock()
        failures: list[tuple[int, BaseException]] = []

        def work() -> None:
            while True:
                with lock:
                    vertex = None if failures else next(pending, None)
                if vertex is None:
                    return
                id = ids.get(vertex, 0)
                show = progress if id else silent  # a named context is no step
                started = time.monotonic()
                show({"event": "start", "id": id})
                try:
                    assert isinstance(vertex.op, TreeOp)
                    context, known = self._opened(vertex.op)
                    contexts.put(vertex.op, context)
                except BaseException as error:
                    if isinstance(error, CaisError):
                        if vertex.origin.first_line:
                            error.span = error.span or vertex.origin[:2]
                        if not isinstance(error, Cancelled):
                            show({"event": "error", "id": id, "message": str(error)})
                    with lock:
                        failures.append((id, error))
                    self._cancelled.set()  # what others fetch is of no use any more
                    for thread in threads:
                        thread.stop()
                    return
                show(
                    {"event": "cached", "id": id}
                    if known
                    else {"event": "done", "id": id, "seconds": time.monotonic() - started}
                )

        threads = [Thread(target=work, daemon=True) for _ in range(min(_THREADS, len(wanted)) - 1)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        if failures:
            # What others raise because they were stopped is no news.
            raise min(failures, key=lambda item: (isinstance(item[1], Cancelled), item[0]))[1]

    def _is_remote(self, op: object) -> bool:
        return isinstance(op, LocalSource) and bool(op.name) and not os.path.isdir(self._value(op.name))

    def _value(self, name: str) -> str:
        return self._options.contexts.get(name, "")

    def _opened(self, op: TreeOp) -> tuple[Context, bool]:
        """The tree, and whether nothing new had to be fetched for it."""
        if isinstance(op, HttpSource):
            kept, known = self.files.get(op.url, op.checksum, again=self._options.no_cache)
            self.kept[op] = kept
            return self._tree(kept), known
        if isinstance(op, GitSource):
            return self._checkout(op)
        value = self._value(op.name)
        if os.path.isdir(value):
            return Context(value, cache=self._cache), True
        from cais.sources.git_urls import parse_git_url

        repository = parse_git_url(value)
        if repository is not None:
            return self._checkout(git_source(repository))
        kept, known = self.files.get(value, again=self._options.no_cache)
        self.kept[HttpSource(value)] = kept
        return self._tree(self.unpacked(kept) or kept), known

    def _checkout(self, op: GitSource) -> tuple[Context, bool]:
        kept, known = self.checked_out(op)
        return self._tree(kept), known

    def checked_out(self, op: GitSource) -> tuple[Kept, bool]:
        """The files of a commit."""
        kept, known = self.repositories(op.url).get(
            op.url,
            op.reference,
            op.subdirectory,
            checksum=op.checksum,
            submodules=op.submodules,
            keep_git_directory=op.keep_git_directory,
        )
        self.kept[op] = kept
        return kept, known

    def unpacked(self, kept: Kept) -> Kept | None:
        """The files of a fetched archive; None where it is none. Unpacked once for the same bytes."""
        from cais.engine.build_archives import start_of, unpack
        from cais.sources.files import file_of
        from cais.sources.store import key_of

        with open(file_of(kept), "rb") as file:
            start = start_of(file)
            if start is None:
                return None
            key = key_of("unpacked", str(kept.facts["sha256"]))
            found = self._stores.sources.find(key)
            if found is not None:
                return found
            with self._stores.sources.ingest() as directory:
                tree = os.path.join(directory, "tree")
                os.mkdir(tree, 0o755)
                size_bytes = unpack(start, file, tree)
                return self._stores.sources.commit(directory, key, "tree", kept.shown, {}, size_bytes)

    def _tree(self, kept: Kept) -> Context:
        from cais.sources.files import tree_of

        return Context(tree_of(kept), cache=self._cache, ignoring=False)

    @property
    def _cache(self) -> str:
        return os.path.join(self._stores.root, "contexts")

    @property
    def files(self) -> Files:
        """What downloads by the user's proxies; a build argument wins over the environment."""
        from cais.sources.files import Files

        return Files(self._stores.sources, self._proxies, cancelled=self._cancelled)

    def repositories(self, url: str) -> Repositories:
        """What runs git for ``url`` and its submodules, with little of the user's environment."""
        from cais.sources.command import Git
        from cais.sources.git import Repositories

        git = Git(
            self._options.environment,
            self._proxies,
            cancelled=self._cancelled,
            authorization=lambda asked: self._authorization(asked, url),
        )
        return Repositories(self._stores.sources, git)

    def _authorization(self, asked: str, url: str) -> str:
        """By the secrets GIT_AUTH_HEADER and GIT_AUTH_TOKEN, as with BuildKit; those without a host in their names are
        for the host of ``url``, and for no submodule elsewhere. None is said in the clear where ``url`` is not.
        """
        if not self._options.secrets:
            return ""
        from urllib.parse import urlsplit

        from cais.engine.build_credentials import credentials
        from cais.sources.command import basic

        try:
            to, own = urlsplit(asked), urlsplit(url)
            host = to.hostname or ""
        except ValueError:
            return ""
        if own.scheme == "https" != to.scheme:
            return ""
        secrets = credentials(self._options.secrets, (), self._options.environment)
        for suffix in (f".{host}", "") if own.hostname == host else (f".{host}",):
            for name in ("GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"):
                value = (secrets.secret(name + suffix) or b"").decode("utf-8", "replace").strip()
                if value and value.isprintable():
                    return value if name == "GIT_AUTH_HEADER" else basic("x-access-token", value)
        return ""

    @property
    def _proxies(self) -> dict[str, str]:
        from cais.spec.proxies import proxy_variables

        return proxy_variables(self._options.build_args, self._options.environment)


def git_source(url: GitUrl) -> GitSource:
    """A repository that is a context."""
    return GitSource(url.url, url.reference, url.subdirectory, url.keep_git_directory, url.submodules, url.checksum)


def shown_source(source: bytes) -> str:
    """A Dockerfile as records and errors show it: without the credentials of its URLs."""
    return shown_text(source.decode("utf-8", "surrogateescape"))


def shown_text(text: str) -> str:
    """``text`` without the credentials of URLs."""
    if "://" not in text:
        return text
    from cais.sources.urls import redacted

    return redacted(text)
