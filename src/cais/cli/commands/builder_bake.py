"""``cais builder bake``: the builds that bake files describe."""

from __future__ import annotations

import threading

from cais.cli.declare import BadValue, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call
    from cais.cli.progress import Display
    from cais.engine.bake import Baked, BakeOptions, Chosen
    from cais.spec.progress import Progress


def _call(text: str) -> None:
    from cais.cli.build_call import call_method

    call_method(text)


def _variable(text: str) -> None:
    if not text.partition("=")[0] or "=" not in text:
        raise BadValue(f"{text!r} is not NAME=VALUE")


def _list(text: str) -> tuple[str, str]:
    """``targets``, ``type=variables,format=json``: what, and in which format. Raises BadValue."""
    said = {"type": text} if "=" not in text and "," not in text else {}
    for field in text.split(",") if not said else ():
        key, equals, value = field.partition("=")
        if not equals:
            raise BadValue(f"invalid value {field}")
        if key.strip().lower() not in ("type", "format"):
            raise BadValue(f"unexpected key '{key}' in '{field}'")
        said[key.strip().lower()] = value
    kind, form = said.get("type", ""), said.get("format", "table")
    if kind not in ("targets", "variables"):
        raise BadValue(f'invalid list type "{kind}"')
    if form not in ("table", "json"):
        raise BadValue(f'invalid list format "{form}"')
    return kind, form


def _list_flag(text: str) -> None:
    _list(text)


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
        Flag("list", "", "string", "List targets or variables", complete="targets,variables", check=_list_flag),
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
    from cais.errors import CaisError, Invalid

    options = _options(call)
    try:
        if call["print"] and call["list"]:
            raise Invalid("--print and --list are mutually exclusive")
        if call["list"]:
            return _listed(call["list"], options)
        chosen = bake.chosen(options)
        if call["print"]:
            _print_json(chosen.shown())
            return 0
        baked = bake.baked(options, chosen)
        methods = {name: method for name, method in sorted(baked.calls.items()) if method}
        return _look(call, baked, chosen, methods) if methods else _build(call, baked)
    except CaisError as error:
        lines = str(error.lines or "").rstrip("\n")
        sys.stderr.write((lines + "\n" if lines else "") + f"ERROR: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"{error.hint}\n")
        return 130 if error.kind == "cancelled" else 1


def _options(call: Call) -> BakeOptions:
    import os
    import sys

    from cais.cli.build_metadata import provenance_mode
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
        result_provenance=provenance_mode(os.environ) if call["metadata-file"] else "",
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
        sets.append(f"*.call={method.partition(',')[0]}")
    return sets


def _listed(what: str, options: BakeOptions) -> int:
    """Names that begin with ``_`` are for the file's own use."""
    import sys

    from cais.engine import bake

    kind, form = _list(what)
    found = bake.definition(options)
    rows: list[dict[str, Any]] = []
    if kind == "targets":
        for name, target in found.targets.items():
            rows.append({"name": name, "description": target.get("description") or ""})
        for name, members in found.groups.items():
            said, names = found.descriptions.get(name, ""), ", ".join(sorted(members))
            rows.append(
                {"name": name, "description": f"{said} ({names})" if said and names else said or names, "group": True}
            )
        rows = [row for row in rows if not row["name"].startswith("_")]
        table = [["TARGET", "DESCRIPTION"]]
    else:
        for item in found.variables:
            value = None if item.value is None else _shown(item.value)
            rows.append({"name": item.name, "description": item.description, "type": item.kind, "value": value})
        table = [["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"]]
    rows.sort(key=lambda row: row["name"])
    if form == "json":
        _print_json([{key: value for key, value in row.items() if value != "" or key == "name"} for row in rows])
        return 0
    for row in rows:
        values = (row.get(title) for title in (["name", *(title.lower() for title in table[0][1:])]))
        table.append(["<null>" if value is None else value for value in values])
    sys.stdout.write(_tabbed(table))
    return 0


def _tabbed(rows: list[list[str]]) -> str:
    """Columns at tab stops, as buildx has them."""
    stops = [max(map(len, column)) // 8 + 1 for column in zip(*rows, strict=True)]
    return "".join(
        "".join(cell + "\t" * (stop - len(cell) // 8) for cell, stop in zip(row[:-1], stops, strict=False))
        + row[-1]
        + "\n"
        for row in rows
    )


def _shown(value: object) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isprintable() else json.dumps(text)


def _look(call: Call, baked: Baked, chosen: Chosen, methods: dict[str, str]) -> int:
    """What targets are called for, by name; as JSON beside what they are."""
    import sys

    from cais.cli.build_call import call_method, look
    from cais.cli.build_metadata import RESULT_KEY, write

    as_json = call_method("check" if call["check"] else call["call"])[1] == "json"
    document = chosen.shown()
    document["target"] = {name: {"build": shown} for name, shown in document["target"].items()}
    metadata: dict[str, Any] = {}
    code = 0
    for number, (name, text) in enumerate(methods.items()):
        method = call_method(text)[0]
        called = look(call.engine, baked.options[name], method)
        code = code or called.code
        metadata[name] = {RESULT_KEY: called.document}
        if as_json:
            document["target"][name][method] = called.document
            continue
        said = chosen.targets[name].get("description")
        sys.stdout.write(("\n" if number else "") + f"{name}\n" + (f"{said}\n" if said else "") + f"\n{called.text}")
        if called.error:
            sys.stdout.flush()
            sys.stderr.write(called.error)
    if call["metadata-file"]:
        write(call["metadata-file"], metadata)
    if as_json:
        _print_json(document)
    return code


def _build(call: Call, baked: Baked) -> int:
    import os

    from cais.cli.build_metadata import WARNINGS_KEY, WarningsKept, wants_warnings, write
    from cais.cli.call import warn
    from cais.cli.progress import display
    from cais.errors import CaisError

    mode = call["progress"]
    mode = os.environ.get("BUILDKIT_PROGRESS") or mode if mode == "auto" else mode
    shown = display(mode)
    together = _Together(shown)
    warnings = WarningsKept()
    try:
        several = len(baked.options) > 1
        results = call.engine.builder.bake(baked, lambda name: warnings.of(together.of(name) if several else shown))
    except CaisError as error:
        shown.close()
        error.lines = shown.failure() + str(error.lines or "")
        raise
    except BaseException:
        shown.close()
        raise
    shown.close()
    if call["metadata-file"]:
        document: dict[str, Any] = {name: result.metadata() for name, result in results.items()}
        if wants_warnings(os.environ) and (found := warnings.listed()):
            document[WARNINGS_KEY] = found
        write(call["metadata-file"], document)
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


def _print_json(document: object) -> None:
    """As Go writes it, with what HTML would read as its own escaped."""
    import json
    import sys

    text = json.dumps(document, indent=2, ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    sys.stdout.write(text + "\n")
