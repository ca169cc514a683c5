"""Devices for a container: ``--device``, ``--device-cgroup-rule``, ``--gpus``. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cais.container.isolation import Device, Devices, Request
from cais.container.options import RunOptions
from cais.errors import Invalid


def devices(wanted: RunOptions) -> Devices:
    """Raises Invalid with Docker's words."""
    nodes: list[Device] = []
    named: list[str] = []
    for text in wanted.devices:
        if is_cdi_name(text):
            named.append(text)
        else:
            nodes.append(parse_device(text))
    requests = [parse_gpus(text) for text in wanted.gpus]
    if named:
        requests.append(Request("cdi", 0, tuple(named)))
    return Devices(tuple(nodes), tuple(_rule(text) for text in wanted.device_cgroup_rules), tuple(requests))


def is_cdi_name(text: str) -> bool:
    """Whether this is ``vendor.com/class=name``."""
    kind, equals, name = text.partition("=")
    vendor, slash, kind_class = kind.partition("/")
    return bool(equals and slash and name and vendor and kind_class and ":" not in kind)


def parse_device(text: str) -> Device:
    """``/dev/a[:/dev/b][:rwm]``. Raises Invalid."""
    parts = text.split(":")
    wrong = ""
    target = access = ""
    if len(parts) > 3:
        wrong = f"bad format for path: {text}"
    elif len(parts) == 2:
        target, access = (parts[0], parts[1]) if is_access(parts[1]) else (parts[1], "rwm")
    else:
        target, access = (parts[1], parts[2]) if len(parts) == 3 else (parts[0], "rwm")
    if not wrong and not is_access(access):
        wrong = f"bad mode specified: {access}"
    for path in (target, parts[0]):
        if not wrong and not path.startswith("/"):
            wrong = f"{path} is not an absolute path"
    if wrong:
        raise Invalid(wrong, exit_code=125)
    return Device(parts[0], target, access)


def is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def _rule(text: str) -> str:
    kind, _, rest = text.partition(" ")
    numbers, _, access = rest.partition(" ")
    major, colon, minor = numbers.partition(":")
    fits = kind in ("a", "b", "c") and colon and all(part == "*" or part.isdigit() for part in (major, minor))
    if not fits or not is_access(access):
        raise Invalid(
            f'invalid argument "{text}" for "--device-cgroup-rule" flag: invalid device cgroup format \'{text}\'',
            exit_code=125,
        )
    return text


def parse_gpus(text: str) -> Request:
    """``all``, ``2``, ``device=0,capabilities=...``: fields as in a line of CSV. Raises Invalid."""
    import csv

    driver, count, ids, capabilities, options = "", "", "", "", ""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise _bad_gpus(text, str(error))
    for index, field in enumerate(fields):
        key, equals, value = field.partition("=")
        if not equals and index == 0:
            count = key
        elif key == "driver":
            driver = value
        elif key == "count":
            count = value
        elif key == "device":
            ids = value
        elif key == "capabilities":
            capabilities = value
        elif key == "options":
            options = value
        else:
            raise _bad_gpus(text, f"unexpected key '{key}' in '{field}'")
    number = 0
    if count == "all":
        number = -1
    elif count:
        try:
            number = int(count)
        except ValueError:
            raise _bad_gpus(text, f'count must be an integer: strconv.Atoi: parsing "{count}": invalid syntax')
    if not count and not ids:
        number = 1
    return Request(driver, number, _words(ids), (*_words(capabilities), "gpu"), _words(options))


def _bad_gpus(text: str, why: str) -> Invalid:
    return Invalid(f'invalid argument "{text}" for "--gpus" flag: {why}', exit_code=125)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def cdi_names(requests: Sequence[Request], registered: Sequence[str]) -> tuple[str, ...]:
    """The CDI devices that are asked for, of those ``registered``. Raises Invalid for a GPU that there is not."""
    names: list[str] = []
    for request in requests:
        if not request.is_gpu:
            names += request.ids
            continue
        kinds = [kind for kind in _GPU_KINDS if any(name.startswith(kind + "=") for name in registered)]
        if not kinds or request.driver not in ("", "cdi", kinds[0].partition(".")[0]):
            raise Invalid(
                f'could not select device driver "{request.driver}" with capabilities: '
                f"[[{' '.join(request.capabilities)}]]",
                hint="GPUs are given by CDI: a specification in JSON below /etc/cdi says what they need (for NVIDIA: "
                "nvidia-ctk cdi generate --format=json --output=/etc/cdi/nvidia.json).",
                exit_code=125,
            )
        if request.ids:
            names += [f"{kinds[0]}={id}" for id in request.ids]
        elif request.number < 0:
            names.append(f"{kinds[0]}=all")
        else:
            names += [f"{kinds[0]}={number}" for number in range(request.number)]
    return tuple(dict.fromkeys(names))


_GPU_KINDS = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu")
