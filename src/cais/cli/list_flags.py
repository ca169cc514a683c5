"""The flags that many commands share, with Docker's texts."""

from __future__ import annotations

from cais.cli.declare import Flag

FORMAT = (
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template."
)
INSPECT_FORMAT = (
    "Format output using a custom template:\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template."
)


def list_format() -> Flag:
    return Flag("format", "", "string", FORMAT, complete="table,json")


def inspect_format() -> Flag:
    return Flag("format", "f", "string", INSPECT_FORMAT, complete="json")


def filter_flag(short: str = "f", text: str = "Filter output based on conditions provided") -> Flag:
    return Flag("filter", short, "filter", text)


def force() -> Flag:
    return Flag("force", "f", "", "Do not prompt for confirmation")


def platform(text: str) -> Flag:
    return Flag("platform", "", "string", text)
