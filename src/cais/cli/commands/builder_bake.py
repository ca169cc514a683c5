"""``cais builder bake``: the builds that bake files describe."""

from __future__ import annotations

import threading

from cais.cli.declare import BadValue, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call
    from cais.cli.progress import Display
    from cais.engine.bake import Baked, BakeOptions
    from cais.spec.progress import Progress


def _call(text: str) -> None:
    from cais.cli.build_call import call_method

    call_method(text)


def _variable(text: str) -> None:
    if not text.partition("=")[0] or "=" not in text:
        raise BadValue(f"{text!r} is not NAME=VALUE")


def _list(text: str) -> None:
    if text.removeprefix("type=").partition(",")[0] not in ("targets", "variables"):
        raise BadValue(f"{text!r} is neither targets nor variables")


COMMAND = Command(
    "[OPTIONS] [TARGET...]",
    "Build from a file",
    arguments=(0, None),
    flags=(
        Flag("allow", "", "stringArray", "Allow build to access specified resources (network.host, security.insecure)",
             complete="network.host,security.insecure"),
        Flag("call", "", "string", 'Set method for evaluating build ("check", "outline", "targets")', "build",
             complete="build,check,outline,targets", check=_call),
        Flag("check", "", "", 'Shorthand for "--call=check"'),
        Flag("file", "f", "stringArray", "Build definition file", complete="file"),
        Flag("list", "", "string", "List targets or variables", complete="targets,variables", check=_list),
        Flag("load", "", "", 'Shorthand for "--set=*.output=type=docker"'),
        Flag("metadata-file", "", "string", "Write build result metadata to a file", complete="file"),
        Flag("no-cache", "", "", "Do not use cache when building the image"),
        Flag("print", "", "", "Print the options without building"),
        Flag("progress", "", "string",
             'Set type of progress output ("auto", "quiet", "plain", "tty", "rawjson")', "auto",
             complete="auto,plain,tty,rawjson,quiet"),
        Flag("provenance", "", "string", 'Shorthand for "--set=*.attest=type=provenance"'),
        Flag("pull", "", "", "Always attempt to pull all referenced images"),
        Flag("push", "", "", 'Shorthand for "--set=*.output=type=registry"'),
        Flag("sbom", "", "string", 'Shorthand for "--set=*.attest=type=sbom"'),
        Flag("set", "", "stringArray", 'Override target value (e.g., "targetpattern.key=value")'),
        Flag("var", "", "stringArray", "Set a variable value (e.g., \"name=value\")", check=_variable),
    ),
    examples=(
        "cais builder bake",
        "cais builder bake --print web worker",
        "cais builder bake -f docker-bake.hcl -f ci.hcl --set '*.platform=linux/arm64' release",
        "TAG=1.2 cais builder bake --set web.args.VERSION=1.2 web",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    import sys

    from cais.engine import bake
    from cais.errors import CaisError

    options = _options(call)
    try:
        if call["list"]:
            return _listed(call["list"], options)
        chosen = bake.chosen(options)
        if call["print"]:
            _print_json(chosen.shown())
            return 0
        return _build(call, bake.baked(options, chosen))
    except CaisError as error:
        lines = str(error.lines or "").rstrip("\n")
        sys.stderr.write((lines + "\n" if lines else "") + f"ERROR: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"{error.hint}\n")
        return 130 if error.kind == "cancelled" else 1


def _options(call: Call) -> BakeOptions:
    import os
    import sys

    from cais.engine.bake import BakeOptions
    from cais.errors import Invalid

    first = call.arguments[0] if call.arguments else ""
    if "://" in first or first.startswith("git@"):
        raise Invalid(
            f"bake definitions are read from files, not from {first.partition('://')[0]}",
            hint="Clone the repository and bake there; contexts of targets may be URLs.",
        )
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not (epoch.isascii() and epoch.isdigit()):
        raise Invalid(f"SOURCE_DATE_EPOCH is {epoch!r}, not a number of seconds")
    return BakeOptions(
        files=call["file"] or [name for name in os.environ.get("BUILDX_BAKE_FILE", "").split(os.pathsep) if name],
        targets=call.arguments,
        sets=[*call["set"], *_short_sets(call)],
        variables=dict(text.split("=", 1) for text in call["var"]),
        allow=call["allow"],
        environment=os.environ,
        epoch=int(epoch) if epoch else None,
        stdin=sys.stdin.buffer if sys.stdin else None,
        stdout=sys.stdout.buffer,
    )


def _short_sets(call: Call) -> list[str]:
    """The flags that are short for ``--set`` of all targets."""
    sets = [f"*.{name}=true" for name in ("no-cache", "pull", "push", "load") if call[name]]
    for kind in ("provenance", "sbom"):
        value = call[kind]
        if value:
            more = {"true": "", "false": ",disabled=true"}.get(value, f",{value}")
            sets.append(f"*.attest=type={kind}{more}")
    method = "check" if call["check"] else call["call"]
    if method != "build":
        sets.append(f"*.call={method}")
    return sets


def _listed(what: str, options: BakeOptions) -> int:
    import sys

    from cais.cli.table import aligned
    from cais.engine import bake

    kind, _, form = what.removeprefix("type=").partition(",")
    found = bake.definition(options)
    if kind == "targets":
        groups = {
            name: found.descriptions.get(name, "") or ", ".join(members) for name, members in found.groups.items()
        }
        targets = {name: target.get("description") or "" for name, target in found.targets.items()}
        rows = [{"name": name, "description": text} for name, text in sorted({**groups, **targets}.items())]
    else:
        rows = [{"name": item.name, "value": item.value, "description": item.description} for item in found.variables]
    if form == "format=json":
        _print_json(rows)
        return 0
    names = ["name", "description"] if kind == "targets" else ["name", "value", "description"]
    table = [
        [
            ("TARGET" if kind == "targets" and name == "name" else "VARIABLE" if name == "name" else name.upper())
            for name in names
        ]
    ]
    table += [[_shown(row[name]) for name in names] for row in rows]
    sys.stdout.write(aligned(table))
    return 0


def _shown(value: object) -> str:
    import json

    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return text if text.isprintable() else json.dumps(text)


def _build(call: Call, baked: Baked) -> int:
    import os

    from cais.cli.build_call import call_method, run_call
    from cais.cli.call import warn
    from cais.cli.progress import display
    from cais.errors import CaisError

    called = {name: method for name, method in baked.calls.items() if method}
    if called:
        failed = 0
        for name, text in called.items():
            method, form = call_method(text)
            if len(called) > 1 and not form:
                warn(f"{name}:")
            failed = run_call(call.engine, baked.options[name], method, form) or failed
        return failed
    mode = call["progress"]
    mode = os.environ.get("BUILDKIT_PROGRESS") or mode if mode == "auto" else mode
    shown = display(mode)
    together = _Together(shown)
    try:
        several = len(baked.options) > 1
        results = call.engine.builder.bake(baked, lambda name: together.of(name) if several else shown)
    except CaisError as error:
        shown.close()
        error.lines = shown.failure() + str(error.lines or "")
        raise
    except BaseException:
        shown.close()
        raise
    shown.close()
    if call["metadata-file"]:
        _write(call["metadata-file"], {name: result.metadata() for name, result in results.items()})
    if mode not in ("quiet", "rawjson"):
        for name, result in results.items():
            for tag in result.names:
                warn(f"Built {result.image_id[7:19]} as {tag}")
            if result.image_id and not result.names and name not in baked.links:
                warn(f"Built {result.image_id[7:19]} ({name})")
    return 0


class _Together:
    """One display for several builds: their steps have numbers of their own, and say of which target they are, as in
    ``[web stage 1/2] FROM ..``."""

    def __init__(self, shown: Display) -> None:
        self._shown = shown
        self._numbers: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    def of(self, target: str) -> Progress:
        def progress(event: dict[str, Any]) -> None:
            with self._lock:
                if "id" in event:
                    event = {**event, "id": self._number(target, event["id"])}
                if event.get("inputs"):
                    event["inputs"] = [self._number(target, id) for id in event["inputs"]]
                if name := event.get("name", ""):
                    event["name"] = f"[{target} {name[1:]}" if name.startswith("[") else f"[{target}] {name}"
                self._shown(event)

        return progress

    def _number(self, target: str, id: int) -> int:
        return self._numbers.setdefault((target, id), len(self._numbers) + 1)


def _write(path: str, document: object) -> None:
    import json

    from cais.errors import from_os_error

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise from_os_error(error, f"write {path}")


def _print_json(document: object) -> None:
    """As Go writes it, with what HTML would read as its own escaped."""
    import json
    import sys

    text = json.dumps(document, indent=2, ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    sys.stdout.write(text + "\n")
