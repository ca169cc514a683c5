"""``cais image build``, ``cais build``."""

from __future__ import annotations

from cais.cli.declare import BadValue, Command, Flag
from cais.cli.values import ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.cli.build_metadata import WarningsKept
    from cais.cli.call import Call
    from cais.cli.progress import Display
    from cais.engine.build import BuildOptions, BuildResult
    from cais.engine.build_debug import Place
    from cais.errors import CaisError


def _call(text: str) -> None:
    from cais.cli.build_call import call_method

    call_method(text)


def _form(text: str) -> str:
    """The value of ``--explain`` and ``--plan``: "", table or json."""
    return {"true": "table", "1": "table", "false": "", "0": ""}.get(text, text)


def _check_form(text: str) -> None:
    if _form(text) not in ("", "table", "json"):
        raise BadValue("must be table or json")


COMMAND = Command(
    "[OPTIONS] PATH | URL | -",
    "Build an image from a Dockerfile",
    aliases=("image build", "build", "builder build"),
    arguments=(1, 1),
    complete="directory",
    flags=(
        Flag("add-host", "", "list", 'Add a custom host-to-IP mapping ("host:ip")'),
        Flag("allow", "", "strings", 'Allow extra privileged entitlement (e.g., "network.host", "security.insecure")',
             complete="network.host,security.insecure"),
        Flag("annotation", "", "stringArray", "Add annotation to the image"),
        Flag("attest", "", "stringArray", 'Attestation parameters (format: "type=sbom,generator=image")'),
        Flag("build-arg", "", "list", "Set build-time variables"),
        Flag("build-context", "", "stringArray", "Additional build contexts (e.g., name=path)"),
        Flag("cache-from", "", "stringArray", 'External cache sources (e.g., "type=local,src=path")'),
        Flag("cache-to", "", "stringArray", 'Cache export destinations (e.g., "type=local,dest=path")'),
        Flag("call", "", "string", 'Set method for evaluating build ("check", "outline", "targets")', "build",
             complete="build,check,outline,targets", check=_call),
        Flag("cgroup-parent", "", "string", 'Set the parent cgroup for the "RUN" instructions during build'),
        Flag("check", "", "", 'Shorthand for "--call=check"'),
        Flag("cpu-period", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) period of RUN"),
        Flag("cpu-quota", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota of RUN"),
        Flag("cpu-shares", "c", "int", "CPU shares (relative weight) of RUN"),
        Flag("cpuset-cpus", "", "string", "CPUs in which to allow RUN (0-3, 0,1)"),
        Flag("cpuset-mems", "", "string", "MEMs in which to allow RUN (0-3, 0,1)"),
        Flag("explain", "", "string", 'Show for each step whether it was cached, and what changed if not '
             '("table" on stderr, "json" on stdout)', complete="table,json", check=_check_form, optional="table"),
        Flag("dockerfile-entry", "", "string", hidden=True),
        Flag("file", "f", "string", 'Name of the Dockerfile (Default is "PATH/Dockerfile")', complete="file"),
        Flag("iidfile", "", "string", "Write the image ID to the file", complete="file"),
        Flag("label", "", "list", "Set metadata for an image"),
        Flag("load", "", "", 'Shorthand for "--output=type=docker"'),
        Flag("memory", "m", "bytes", "Memory limit of RUN"),
        Flag("memory-swap", "", "bytes", "Limit of memory plus swap of RUN: '-1' to enable unlimited swap"),
        Flag("metadata-file", "", "string", "Write build result metadata to the file", complete="file"),
        Flag("network", "", "string", "Set the networking mode for the RUN instructions during build (host|none)",
             "default", complete="default,host,none"),
        Flag("no-cache", "", "", "Do not use cache when building the image"),
        Flag("no-cache-filter", "", "stringArray", "Do not cache specified stages"),
        Flag("on-error", "", "string",
             'What to do when a RUN fails: "shell" opens one where it failed (needs a terminal)', complete="shell"),
        Flag("output", "o", "stringArray",
             'Output destination (format: "type=local,dest=path")'),
        Flag("plan", "", "string", "Show which steps would run, and why, and build nothing: exit code 0 if all are "
             'cached, 2 if not ("table", "json")', complete="table,json", check=_check_form, optional="table"),
        Flag("platform", "", "stringArray", "Set target platform for build"),
        Flag("progress", "", "string",
             'Set type of progress output ("auto", "quiet", "plain", "tty", "rawjson")', "auto",
             complete="auto,plain,tty,rawjson,quiet"),
        Flag("provenance", "", "string", 'Shorthand for "--attest=type=provenance"'),
        Flag("pull", "", "", "Always attempt to pull all referenced images"),
        Flag("push", "", "", 'Shorthand for "--output=type=registry"'),
        Flag("quiet", "q", "", "Suppress the build output and print image ID on success"),
        Flag("sbom", "", "string", 'Shorthand for "--attest=type=sbom"'),
        Flag("secret", "", "stringArray",
             'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'),
        Flag("shm-size", "", "bytes", "Shared memory size for build containers"),
        Flag("ssh", "", "stringArray",
             'SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")'),
        Flag("tag", "t", "list", 'Name and optionally a tag in the "name:tag" format'),
        Flag("target", "", "string", "Set the target build stage to build."),
        Flag("ulimit", "", "ulimit", "Ulimit options", check=ulimit),
        # What they ask for is always so, as with BuildKit: there are no intermediate containers, no context is sent,
        # and the image is kept here.
        Flag("compress", "", "", "Compress the build context using gzip (no effect)"),
        Flag("disable-content-trust", "", "", "Skip image verification (no effect)", default=True),
        Flag("force-rm", "", "", "Always remove intermediate containers (no effect)"),
        Flag("isolation", "", "string", "Container isolation technology (no effect)"),
        Flag("rm", "", "", "Remove intermediate containers (no effect)", default=True),
        # BuildKit takes these and does nothing with them; here a line says so.
        Flag("security-opt", "", "list", "Security options (no effect)"),
        Flag("squash", "", "", hidden=True),
    ),
    examples=(
        "cais build -t app:1.0 .",
        "cais build --target test --build-arg VERSION=2 -f docker/Dockerfile .",
        "cais build --plan .",
        "cais build --check .",
        "cais build --explain -t app .",
        "cais build -o type=local,dest=out .",
        "cais build - < Dockerfile",
        "cais build --build-context assets=../assets https://github.com/user/app.git#main:docker",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    import sys

    from cais.cli.call import say, warn
    from cais.cli.progress import display
    from cais.errors import CaisError, Cancelled

    try:
        options = _options(call)
    except CaisError as error:
        sys.stderr.write(_failure(error, ""))
        return 1
    _warn_of_ignored(call)
    if call["check"] or call["call"] != "build":
        return _look(call, options)
    if _form(call["explain"]) == "json" and any(text == "-" or "dest=-" in text for text in call["output"]):
        from cais.errors import Invalid

        raise Invalid("--explain=json and --output dest=- both want standard output", hint="Give --output a dest=FILE.")
    if _form(call["plan"]):
        return _show_plan(call, options)
    shown = display("quiet" if call["quiet"] else _mode(call))
    warnings = _kept_warnings(call)
    told: list[CaisError] = []

    def tell(error: CaisError) -> None:
        if error not in told:
            sys.stderr.write(_failure(error, shown.failure()))
            told.append(error)

    try:
        progress = warnings.of(shown) if warnings is not None else shown
        result = call.engine.builder.build(options, progress, _on_failure(call, shown, tell))
    except Cancelled:
        shown.close()
        raise
    except CaisError as error:
        shown.close()
        _explain(call, error.build_id)
        tell(error)
        # A flag's own code, where the build had not begun.
        return error.exit_code if error.kind == "cancelled" or not error.build_id else 1
    except KeyboardInterrupt:
        shown.close()
        sys.stderr.write("ERROR: failed to build: canceled\n")
        raise
    except BaseException:
        shown.close()
        raise
    shown.close()
    _write_files(call, result, warnings)
    _explain(call, result.build_id)
    if _form(call["explain"]) == "json":
        pass  # the id is in what was printed
    elif call["quiet"] or call["progress"] == "quiet":
        if result.image_id:
            say(result.image_id)
    elif _mode(call) not in ("rawjson", "quiet"):
        for name in result.names:
            warn(f"Built {result.image_id[7:19]} as {name}")
        if result.image_id and not result.names:
            warn(f"Built {result.image_id[7:19]}")
    return 0


def _kept_warnings(call: Call) -> WarningsKept | None:
    """Where the file of metadata shall have them."""
    if not call["metadata-file"]:
        return None
    import os

    from cais.cli.build_metadata import WarningsKept, wants_warnings

    return WarningsKept() if wants_warnings(os.environ) else None


def _provenance(call: Call) -> str:
    """What the file of metadata shall have: min, max or nothing."""
    if not call["metadata-file"]:
        return ""
    import os

    from cais.cli.build_metadata import provenance_mode

    return provenance_mode(os.environ)


def _on_failure(call: Call, shown: Display, tell: Callable[[CaisError], None]) -> Callable[[Place], None] | None:
    if not call["on-error"]:
        return None
    from cais.cli.debug_shell import on_failure
    from cais.errors import Invalid

    if call["on-error"] != "shell":
        raise Invalid(f"invalid --on-error {call['on-error']!r}", hint="It is shell, or not given.")
    return on_failure(shown, tell, "")


def _look(call: Call, options: BuildOptions) -> int:
    from cais.cli.build_call import call_method, run_call
    from cais.errors import CaisError

    method, format = call_method(call["call"])
    if method == "build":
        method = "check"
    try:
        return run_call(call.engine, options, method, format, call["metadata-file"])
    except CaisError as error:
        import sys

        sys.stderr.write(_failure(error, ""))
        return 1


def _mode(call: Call) -> str:
    import os

    mode: str = call["progress"]
    return os.environ.get("BUILDKIT_PROGRESS") or mode if mode == "auto" else mode


def _options(call: Call) -> BuildOptions:
    import os
    import sys

    from cais.cli.values import build_arguments, check_cached, check_pairs, check_quiet, epoch, key_values, network_mode
    from cais.engine.build_options import BuildOptions, Limits

    check_pairs(call["label"])
    check_quiet(call["quiet"], call["progress"])
    check_cached(call["no-cache"], call["no-cache-filter"])
    return BuildOptions(
        context=call.arguments[0],
        dockerfile=call["file"],
        dockerfile_entry=call["dockerfile-entry"],
        tags=call["tag"],
        build_args=build_arguments(call["build-arg"]),
        target=call["target"],
        no_cache=call["no-cache"],
        labels=key_values(call["label"]),
        platform=",".join(call["platform"]),
        network=network_mode(call["network"]),
        outputs=_outputs(call),
        epoch=epoch(),
        stdin=sys.stdin.buffer if sys.stdin else None,
        stdout=sys.stdout.buffer,
        contexts=_contexts(call["build-context"]),
        secrets=call["secret"],
        ssh=call["ssh"],
        allow=call["allow"],
        add_hosts=call["add-host"],
        limits=Limits(
            memory_bytes=call["memory"] or 0,
            memory_swap_bytes=call["memory-swap"] or 0,
            cpu_shares=call["cpu-shares"] or 0,
            cpu_period_microseconds=call["cpu-period"] or 0,
            cpu_quota_microseconds=call["cpu-quota"] or 0,
            cpuset_cpus=call["cpuset-cpus"],
            cpuset_mems=call["cpuset-mems"],
            shm_bytes=call["shm-size"] or 0,
            ulimits=tuple(call["ulimit"]),
            cgroup_parent=call["cgroup-parent"],
        ),
        no_cache_filter=call["no-cache-filter"],
        pull=call["pull"],
        annotations=call["annotation"],
        cache_from=call["cache-from"],
        cache_to=call["cache-to"],
        attest=_attest(call),
        result_provenance=_provenance(call),
        environment=os.environ,
    )


def _warn_of_ignored(call: Call) -> None:
    from cais.cli.call import warn

    if call["squash"]:
        warn("WARNING: --squash is ignored, as with BuildKit: copy from a stage to have one layer.")
    if call["security-opt"]:
        warn("WARNING: --security-opt is ignored, as with BuildKit: see RUN --security and --allow.")
    if call["isolation"] not in ("", "default"):
        warn(f"WARNING: --isolation {call['isolation']} is ignored: there is one kind of isolation on Linux.")


def _outputs(call: Call) -> list[str]:
    """``--load`` and ``--push`` are short for an output."""
    outputs = list(call["output"])
    if call["push"]:
        outputs.append("type=registry")
    if call["load"]:
        outputs.append("type=docker")
    return outputs


def _contexts(texts: list[str]) -> dict[str, str]:
    from cais.errors import Invalid

    contexts = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise Invalid(f"invalid context value: {text}, expected key=value")
        contexts[name] = value
    return contexts


def _attest(call: Call) -> list[str]:
    """``--provenance`` and ``--sbom`` are short for ``--attest``."""
    texts = list(call["attest"])
    for kind in ("provenance", "sbom"):
        value = call[kind]
        if value:
            texts.append(
                f"type={kind},disabled=true"
                if value == "false"
                else f"type={kind}"
                if value == "true"
                else f"type={kind},{value}"
            )
    return texts


def _show_plan(call: Call, options: BuildOptions) -> int:
    import sys

    from cais.cli.explain import show_plan
    from cais.errors import CaisError

    try:
        steps = call.engine.builder.plan(options)
    except CaisError as error:
        sys.stderr.write(_failure(error, ""))
        return 1
    return show_plan(_form(call["plan"]), steps)


def _explain(call: Call, build: str) -> None:
    """What ``--explain`` asked for, of a build that succeeded or failed."""
    wanted = _form(call["explain"])
    if wanted and build:
        from cais.cli.explain import show_build

        show_build(wanted, call.engine.builder.record(build))


def _failure(error: CaisError, output: str) -> str:
    """BuildKit's form: the last output of the step, the marked lines of the Dockerfile, what is wrong."""
    from cais.engine.build_log import said_of_failure

    lines = str(getattr(error, "lines", "") or "").rstrip("\n")
    text = output + (lines + "\n" if lines else "") + f"ERROR: failed to build: {said_of_failure(error)}\n"
    return text + (f"{error.hint}\n" if error.hint else "")


def _write_files(call: Call, result: BuildResult, warnings: WarningsKept | None) -> None:
    from cais.errors import from_os_error

    if call["iidfile"]:
        try:
            with open(call["iidfile"], "w", encoding="utf-8") as file:
                file.write(result.image_id)
        except OSError as error:
            raise from_os_error(error, f"write {call['iidfile']}")
    if call["metadata-file"]:
        from cais.cli.build_metadata import WARNINGS_KEY, write

        document = result.metadata()
        if warnings is not None and (found := warnings.listed()):
            document[WARNINGS_KEY] = found
        write(call["metadata-file"], document)
