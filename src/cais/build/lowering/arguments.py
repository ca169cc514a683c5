"""Build arguments: those of the platform, those that need no ARG, and the ARGs above the first FROM."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cais.build.dockerfile.instructions import Arg, OnBuild
from cais.build.dockerfile.parser import Dockerfile
from cais.build.lowering.result import Warned
from cais.spec.platform import Platform

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
# Given to a build without an ARG in its Dockerfile: they are the builder's.
_PREDEFINED = frozenset(("SOURCE_DATE_EPOCH",))


def platform_arguments(target: Platform, build: Platform, target_stage: str) -> dict[str, str]:
    """TARGETPLATFORM, BUILDARCH and the like."""
    arguments: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        arguments[prefix + "PLATFORM"] = str(platform)
        arguments[prefix + "OS"] = platform.os
        arguments[prefix + "OSVERSION"] = platform.os_version
        arguments[prefix + "ARCH"] = platform.architecture
        arguments[prefix + "VARIANT"] = platform.variant
    arguments["TARGETSTAGE"] = target_stage or "default"
    return arguments


def global_arguments(
    platform_args: Mapping[str, str],
    declared: tuple[Arg, ...],
    build_args: Mapping[str, str],
    expand: Callable[[str, Mapping[str, str], Arg], str],
) -> dict[str, str]:
    """What FROM lines see: the platform's, overridden by the command line, then each ARG above the first FROM."""
    arguments = {name: build_args.get(name, value) for name, value in platform_args.items()}
    for instruction in declared:
        for name, default in instruction.pairs:
            if name in build_args:
                arguments[name] = build_args[name]
            elif default is not None:
                arguments[name] = expand(default, arguments, instruction)
    return arguments


def proxy_environment(build_args: Mapping[str, str]) -> dict[str, str]:
    """What RUN gets of the proxy settings, in both spellings; it is in no cache key and no history."""
    found: dict[str, str] = {}
    for name in sorted(build_args):
        if name.upper() in PROXIES:
            found[name.upper()] = found[name.lower()] = build_args[name]
    return found


def unconsumed(
    dockerfile: Dockerfile, triggers: list[Arg], platform_args: Mapping[str, str], build_args: Mapping[str, str]
) -> list[Warned]:
    """A warning when something was given that no ARG asks for."""
    left = {
        name
        for name in build_args
        if name.upper() not in PROXIES
        and name not in _PREDEFINED
        and name not in platform_args
        and not name.startswith("BUILDKIT_")
    }
    if left:
        for instruction in [*dockerfile.instructions, *triggers]:
            found = instruction.instruction if isinstance(instruction, OnBuild) else instruction
            if isinstance(found, Arg):
                left.difference_update(name for name, _ in found.pairs)
    if not left:
        return []
    return [Warned("BuildArgNotConsumed", f"One or more build-args [{' '.join(sorted(left))}] were not consumed")]
