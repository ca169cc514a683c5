"""Go templates: evaluation, with Go's rules for what is true, what is a field, and what errors say."""

from __future__ import annotations

from cais.cli import template_functions as functions
from cais.cli.template import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.cli.template import Node, Template

# Keys whose values are maps in Docker's types, where a missing key is no error; other objects are structs.
MAPS = frozenset((
    "Labels", "Annotations", "Options", "Volumes", "ExposedPorts", "PortBindings", "Networks", "Ports", "Sysctls",
    "Tmpfs", "Data", "Attributes", "annotations", "StorageOpt", "DriverOpts",
))  # fmt: skip
# Keys whose values are lists there: where there is none, it prints as an empty one.
LISTS = frozenset((
    "Cmd", "Env", "Entrypoint", "OnBuild", "Shell", "RepoTags", "RepoDigests", "Layers", "Args", "Binds", "Mounts",
    "CapAdd", "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "Links", "SecurityOpt",
    "VolumesFrom", "Devices", "Ulimits", "ExecIDs", "MaskedPaths", "ReadonlyPaths", "Test", "Aliases", "DNSNames",
    "DeviceCgroupRules", "DeviceRequests", "SecondaryIPAddresses", "SecondaryIPv6Addresses",
))  # fmt: skip
# What Docker's client calls a row of a list, where it is not formatter.KINDContext.
GO_TYPES = {
    "container": "formatter.ContainerContext", "diskUsage": "formatter.diskUsageImagesContext",
    "events.Message": "events.Message", "network": "network.networkContext", "stats": "container.statsContext",
}  # fmt: skip
# Keys of pointers there, which print as <nil>.
POINTERS = frozenset((
    "Health", "Healthcheck", "Init", "StopTimeout", "SizeRw", "SizeRootFs", "PidsLimit", "MemorySwappiness", "Node",
    "IPAMConfig", "UsageData", "ClusterVolume", "ImageManifestDescriptor",
))  # fmt: skip
# Keys that documents leave out where there is nothing, and templates may ask for all the same.
LEFT_OUT = POINTERS | {"Sysctls", "StorageOpt", "Annotations", "Tmpfs", "Mounts", "Shell", "ExposedPorts"}
LEFT_OUT_TEXTS = frozenset(("StopSignal", "Variant", "OsVersion", "MacAddress"))
LEFT_OUT_TRUTHS = frozenset(("NetworkDisabled", "ArgsEscaped"))


class Map(dict[str, object]):
    """An object in which a missing key is no value instead of an error."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


NOTHING: Any = object()


def run(template: Template, dot: Any) -> str:
    """The text of ``template`` for ``dot``. Raises TemplateError."""
    machine = _Machine(template, dot)
    machine.walk(template.nodes, dot)
    return "".join(machine.output)


class _Machine:
    def __init__(self, template: Template, dot: Any) -> None:
        self.template = template
        self.output: list[str] = []
        self.variables: list[tuple[str, Any]] = [("$", dot)]

    def error(self, message: str, text: str, position: int) -> TemplateError:
        before = self.template.text[:position]
        line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1)
        name = self.template.name
        return TemplateError(f'template: {name}:{line}:{column}: executing "{name}" at <{text}>: {message}')

    def walk(self, nodes: list[Node], dot: Any) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self.output.append(node[1])
            elif kind == "pipe":
                value = self.pipe(node[1], dot)
                if not node[1][0]:
                    self.output.append(functions.printed(value))
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            else:
                depth = len(self.variables)
                if kind == "range":
                    self.range(node, dot)
                else:
                    value = self.pipe(node[1], dot)
                    if functions.true(value):
                        self.walk(node[2], value if kind == "with" else dot)
                    else:
                        self.walk(node[3], dot)
                del self.variables[depth:]

    def range(self, node: Node, dot: Any) -> None:
        _, (names, assigns, commands, position), body, otherwise = node
        value = self.pipe(((), False, commands, position), dot)
        if isinstance(value, dict):
            pairs: Any = sorted(value.items())
        elif isinstance(value, (list, tuple)):
            pairs = enumerate(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = ((index, index) for index in range(value))
        elif value is None:
            pairs = ()
        else:
            text = self.template.text[position:].partition("}}")[0].strip()
            raise self.error(f"range can't iterate over {functions.printed(value)}", text, position)
        depth, empty = len(self.variables), True
        for key, item in pairs:
            empty = False
            given = (item,) if len(names) == 1 else (key, item)
            for name, part in zip(names, given, strict=False):
                self.assign(name, part) if assigns else self.variables.append((name, part))
            try:
                self.walk(body, item)
            except _Break:
                break
            except _Continue:
                pass
            finally:
                del self.variables[depth:]
        if empty:
            self.walk(otherwise, dot)

    def assign(self, name: str, value: Any) -> None:
        for index in range(len(self.variables) - 1, -1, -1):
            if self.variables[index][0] == name:
                self.variables[index] = (name, value)
                return

    def pipe(self, pipe: Node, dot: Any) -> Any:
        names, assigns, commands, _ = pipe
        value: Any = NOTHING
        for command in commands:
            value = self.command(command, dot, value)
        for name in names:
            if assigns:
                self.assign(name, value)
            else:
                self.variables.append((name, value))
        return value

    def command(self, command: Node, dot: Any, last: Any) -> Any:
        first, operands = command[0], command[1:]
        if first[0] == "function":
            return self.function(first, operands, dot, last)
        arguments = [self.operand(operand, dot) for operand in operands]
        if last is not NOTHING:
            arguments.append(last)
        return self.operand(first, dot, arguments)

    def function(self, node: Node, operands: Node, dot: Any, last: Any) -> Any:
        name, position = node[1], node[2]
        if name in ("and", "or"):
            # They stop at the first operand that decides.
            value: Any = None
            for operand in operands:
                value = self.operand(operand, dot)
                if functions.true(value) == (name == "or"):
                    return value
            return value if last is NOTHING else last
        arguments = [self.operand(operand, dot) for operand in operands]
        if last is not NOTHING:
            arguments.append(last)
        least, most, function = functions.TABLE[name]
        if len(arguments) < least or (most is not None and len(arguments) > most):
            wanted = f"at least {least}" if most is None else str(least)
            raise self.error(f"wrong number of args for {name}: want {wanted} got {len(arguments)}", name, position)
        try:
            return function(*arguments)
        except functions.Wrong as error:
            raise self.error(f"error calling {name}: {error}", name, position)

    def operand(self, node: Node, dot: Any, arguments: Any = ()) -> Any:
        kind = node[0]
        if kind == "field":
            return self.fields(dot, node[1], arguments, node[2], node[3])
        if kind == "value":
            value = node[1]
        elif kind == "dot":
            value = dot
        elif kind == "variable":
            value = next(value for name, value in reversed(self.variables) if name == node[1])
            if node[2]:
                return self.fields(value, node[2], arguments, node[3], node[4])
        elif kind == "function":
            return self.function(node, (), dot, NOTHING)
        elif kind == "chain":
            return self.fields(self.operand(node[1], dot), node[2], arguments, node[3], node[4])
        else:
            value = self.pipe(node[1], dot)
        if arguments:
            text = node[3] if kind == "variable" else "." if kind == "dot" else functions.printed(value)
            raise self.error(f"can't give argument to non-function {text}", text, 2)
        return value

    def fields(self, value: Any, names: tuple[str, ...], arguments: Any, text: str, position: int) -> Any:
        last = len(names) - 1
        for index, name in enumerate(names):
            if isinstance(value, Map) and name not in value:
                return None  # and so is, as in Go, whatever is asked of it
            value = self.field(value, name, arguments if index == last else (), text, position)
        return value

    def field(self, value: Any, name: str, arguments: Any, text: str, position: int) -> Any:
        if isinstance(value, dict):
            if name in value:
                if arguments:
                    raise self.error(f"{name} is not a method but has arguments", text, position)
                found = value[name]
                if found is None:
                    return _zero(name)
                return Map(found) if name in MAPS and isinstance(found, dict) else found
            spelt = _spelt(value, name)
            if spelt:
                return self.field(value, spelt, arguments, text, position)
            if not arguments:
                if name in LEFT_OUT:
                    return _zero(name)
                if name in LEFT_OUT_TEXTS:
                    return ""
                if name in LEFT_OUT_TRUTHS:
                    return False
            raise self.error(f'map has no entry for key "{name}"', text, position)
        row_fields = getattr(value, "fields", None)
        if isinstance(row_fields, dict):
            if name in value.methods:
                try:
                    return value.methods[name](value.item)(*arguments)
                except TypeError:
                    raise self.error(f"wrong number of args for {name}: want 1 got {len(arguments)}", text, position)
            if name in row_fields:
                if arguments:
                    raise self.error(f"wrong number of args for {name}: want 0 got {len(arguments)}", text, position)
                return row_fields[name](value.item)
            kind = GO_TYPES.get(value.kind, f"formatter.{value.kind}Context")
            raise self.error(f"can't evaluate field {name} in type *{kind}", text, position)
        if value is None or isinstance(value, functions.NilPointer):
            raise self.error(f"nil pointer evaluating interface {{}}.{name}", text, position)
        raise self.error(f"can't evaluate field {name} in type {functions.type_name(value)}", text, position)


def _spelt(value: Mapping[str, Any], name: str) -> str:
    """The key that Docker's types call ``name``, or "": Id, Dns and CpuShares are ID, DNS and CPUShares there."""
    if name[:1].islower():
        return ""
    small = name.lower()
    return next((key for key in value if key.lower() == small), "")


def _zero(name: str) -> Any:
    """Nothing, as the type that Docker has for ``name``."""
    if name in MAPS:
        return functions.NilMap()
    if name in LISTS:
        return functions.NilList()
    return functions.NilPointer() if name in POINTERS else None
