"""The settings of a registry, as one value that is built here and passed down.

Each is taken from the first place that names it: a flag (``--set gc.grace=1h``), the environment
(``CAIS_REGISTRY_GC_GRACE``, or ``CAIS_REGISTRY_GC_GRACE_FILE``: a file that holds the value, as secrets are mounted),
the file (table ``gc``, key ``grace``), the default. ``SETTINGS`` says what each is for; the reference in ``docs/`` is
compared with it.
"""

from __future__ import annotations

from cais.catalog.settings import AccessSettings, CatalogSettings, Policy, S3Settings
from cais.errors import Invalid, from_os_error
from cais.registry.values import format_value, read_value
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

SYSTEM_FILE = "/etc/cais/registry.toml"
PREFIX = "CAIS_REGISTRY_"
_FILE_LIMIT_BYTES = 1 << 20
_MIB = 1 << 20


class Settings(NamedTuple):
    """What a registry is told. A field is the name in the file with ``_`` for the dot; seconds and bytes throughout."""

    root: str = "/var/lib/cais-registry"
    listen: str = "127.0.0.1:5000"
    workers: int = 0
    threads: int = 0
    anonymous: str = "none"
    accept_missing: bool = False
    deletes: bool = True
    proxies: tuple[str, ...] = ()
    stop_timeout: float = 30.0
    stop_delay: float = 0.0
    database_url: str = ""
    access_public: bool = False
    access_admin: str = ""
    access_admin_password: str = ""
    access_service: str = "cais-registry"
    access_realm: str = ""
    access_token_lifetime: float = 300.0
    access_key_lifetime: float = 30 * 86400.0
    access_key_secret: str = ""
    access_login_lifetime: float = 90 * 86400.0
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    s3_bucket: str = ""
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: str = ""
    s3_prefix: str = ""
    s3_virtual_hosted: bool = False
    s3_part: int = 8 * _MIB
    s3_redirect: float = 0.0
    s3_patience: float = 45.0
    uploads_expire: float = 7 * 86400.0
    gc_interval: float = 3600.0
    gc_grace: float = 86400.0
    gc_untagged_after: float = 0.0
    gc_batch: int = 500
    limits_manifest: int = 4 * _MIB
    limits_blob: int = 0
    limits_head_timeout: float = 20.0
    limits_body_timeout: float = 60.0
    limits_body_rate: int = 256
    limits_idle_timeout: float = 75.0
    log_access: str = "-"
    metrics_listen: str = ""
    metrics_path: str = ""

    def __repr__(self) -> str:
        shown = (f"{row.name}={format_value(row, getattr(self, row.field))}" for row in SETTINGS)
        return f"Settings({', '.join(shown)})"


class Setting(NamedTuple):
    """One setting: its ``name`` in the file, what its value is (``values``, or ``one|of|these``), and what for."""

    name: str
    kind: str
    text: str

    @property
    def field(self) -> str:
        return self.name.replace(".", "_")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.field.upper()


SETTINGS = (
    Setting("root", "text", "the directory of the blobs, and of the database where no other is named"),
    Setting("listen", "text", "where it answers: `HOST:PORT`; port 0 is any free one"),
    Setting("workers", "count", "processes that answer, on one socket; `0`: one for each processor, up to four"),
    Setting("threads", "count", "threads of each process that wait for the stores; `0`: 16, or 64 with a bucket"),
    Setting(
        "anonymous", "none|read|write",
        "what everybody may do without signing in: nothing, read what is public, or everything",
    ),
    Setting("accept_missing", "switch", "take manifests that refer to blobs or manifests that the repository has not"),
    Setting("deletes", "switch", "whether clients may delete blobs, manifests and tags; `false`: they are told 405"),
    Setting(
        "proxies", "networks", "addresses and networks of balancers that say for whom they ask (`X-Forwarded-For`)"
    ),
    Setting("stop_timeout", "duration", "how long running uploads and downloads may go on after a SIGTERM"),
    Setting(
        "stop_delay", "duration",
        "how long it takes connections after a SIGTERM, and says on `/readyz` that it is not ready: for balancers",
    ),
    Setting(
        "database.url", "secret",
        "the records: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`; by default `registry.db` in the root",
    ),
    Setting("access.public", "switch", "whether a repository is public from its first push on"),
    Setting("access.admin", "text", "the name of an administrator that is added at a start where there is no user yet"),
    Setting("access.admin_password", "secret", "the password of that one; later it is changed by a command"),
    Setting("access.service", "text", "the name of this registry in its tokens; all replicas have the same"),
    Setting("access.realm", "text", "the URL of `/token` as clients see it; empty: by the name that they asked for"),
    Setting("access.token_lifetime", "duration", "how long a token is good: as long as it takes to shut somebody out"),
    Setting("access.key_lifetime", "duration", "how long a key signs tokens, before the next one does"),
    Setting("access.key_secret", "secret", "encrypts keys that sign, where the records are kept; one for all replicas"),
    Setting("access.login_lifetime", "duration", "how long `docker login` lasts where it keeps no password"),
    Setting("tls.certificate", "text", "a file with the certificate, and those above it; empty: no TLS"),
    Setting("tls.key", "text", "the file with its key; empty: it is in the file of the certificate"),
    Setting(
        "tls.client_ca", "text", "a file with the authorities of which clients need a certificate; empty: none"
    ),
    Setting("s3.bucket", "text", "the bucket of an S3-compatible store for the blobs; empty: they are in the root"),
    Setting("s3.endpoint", "text", "where the store is, `https://HOST[:PORT]`; empty: Amazon's, by the region"),
    Setting("s3.region", "text", "the region that requests to the store are signed for"),
    Setting("s3.access_key", "text", "the name of the key; empty: from `AWS_ACCESS_KEY_ID`, or the machine's role"),
    Setting("s3.secret_key", "secret", "the key"),
    Setting("s3.prefix", "text", "stands before the names of all objects, for a bucket that is shared"),
    Setting("s3.virtual_hosted", "switch", "the bucket is a part of the host's name, and not of the path"),
    Setting("s3.part", "size", "the largest object that is written: what is larger is stored as several"),
    Setting(
        "s3.redirect", "duration",
        "blobs of one object are fetched from the store itself, by links that are good for so long; `0`: never",
    ),
    Setting("s3.patience", "duration", "how long a store that fails is asked again, before a client is told 503"),
    Setting("uploads.expire", "duration", "after so long without a byte an upload that was not finished is removed"),
    Setting("gc.interval", "duration", "how often a serving registry collects what nothing needs; `0`: never"),
    Setting("gc.grace", "duration", "how long what nothing refers to is kept: longer than any push takes"),
    Setting(
        "gc.untagged_after", "duration",
        "manifests that no tag, index or subject keeps are removed so long after their push; `0`: they are kept",
    ),
    Setting("gc.batch", "count", "how many rows one transaction of the collector touches"),
    Setting("limits.manifest", "size", "the largest manifest that is accepted"),
    Setting("limits.blob", "size", "the largest blob that is accepted; `0`: any"),
    Setting("limits.head_timeout", "duration", "how long a client may take to send a request's head"),
    Setting("limits.body_timeout", "duration", "how long a client may send, or take, no byte of a body"),
    Setting(
        "limits.body_rate", "size",
        "how many bytes of a body a client has to send in a second, on the average of `limits.body_timeout`; `0`: any",
    ),
    Setting("limits.idle_timeout", "duration", "how long a connection is kept that nobody uses"),
    Setting("log.access", "text", "a line for each request: `-` to standard output, else to this file; empty: none"),
    Setting("metrics.listen", "text", "an address of its own that serves `/metrics` to Prometheus, without a password"),
    Setting("metrics.path", "text", "a path of the main address that serves the same (`/metrics`); empty: none"),
)  # fmt: skip
_ROWS = {row.name: row for row in SETTINGS}


def of_catalog(settings: Settings) -> CatalogSettings:
    """What the catalog has to know of them."""
    s3 = S3Settings(
        bucket=settings.s3_bucket,
        endpoint=settings.s3_endpoint.rstrip("/"),
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        prefix=settings.s3_prefix,
        virtual_hosted=settings.s3_virtual_hosted,
        part_bytes=settings.s3_part,
        link_seconds=settings.s3_redirect,
        retry_seconds=settings.s3_patience,
    )
    return CatalogSettings(
        root=settings.root,
        database=settings.database_url,
        access=AccessSettings(
            anonymous=settings.anonymous,
            public=settings.access_public,
            service=settings.access_service,
            token_seconds=settings.access_token_lifetime,
            key_seconds=settings.access_key_lifetime,
            key_secret=settings.access_key_secret,
            login_seconds=settings.access_login_lifetime,
            admin=settings.access_admin,
            admin_password=settings.access_admin_password,
        ),
        manifest_limit_bytes=settings.limits_manifest,
        blob_limit_bytes=settings.limits_blob,
        s3=s3 if settings.s3_bucket else None,
        accept_missing=settings.accept_missing,
        policy=Policy(
            settings.gc_grace, settings.gc_untagged_after, settings.uploads_expire, max(1, settings.gc_batch)
        ),
    )


def load(
    environment: Mapping[str, str],
    *,
    config: str = "",
    flags: Mapping[str, str] | None = None,
    pairs: Iterable[str] = (),
) -> Settings:
    """The settings: ``flags`` by their names in the file ("" is not given), then ``pairs`` (``name=value``), the
    environment, the file ``config`` (by default ``/etc/cais/registry.toml``, where there is one).

    Raises Invalid: an unknown name, a value that cannot be read, a file that cannot be understood.
    """
    given = {
        name: read_value(_ROWS[name], value, f"--{name.replace('.', '-')}")
        for name, value in (flags or {}).items()
        if value
    }
    file = _from_file(config or environment.get(PREFIX + "CONFIG", ""))
    values = file | _from_environment(environment) | _from_pairs(pairs) | given
    return Settings(**{_ROWS[name].field: value for name, value in values.items()})


def _from_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Invalid(f"--set {name}: no value is given", hint="Write --set NAME=VALUE.")
        if name not in _ROWS:
            raise _unknown(name, "--set")
        values[name] = read_value(_ROWS[name], text, "--set")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    variables = {row.variable: row for row in SETTINGS}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == PREFIX + "CONFIG" or _of_kubernetes(variable):
            continue
        if variable in variables:
            values[variables[variable].name] = read_value(variables[variable], text, variable)
        elif variable.endswith("_FILE") and variable[:-5] in variables:
            row = variables[variable[:-5]]
            values[row.name] = read_value(row, _read(text, f"read {variable}").decode().rstrip("\r\n"), variable)
        else:
            raise _unknown(variable, "the environment")
    return values


def _of_kubernetes(variable: str) -> bool:
    """Every pod is told of a service that is named ``cais-registry`` by variables with our prefix."""
    rest = variable[len(PREFIX) :]
    return rest == "PORT" or rest.startswith(("PORT_", "SERVICE_"))


def _from_file(config: str) -> dict[str, Any]:
    import os
    import tomllib

    path = config or SYSTEM_FILE
    if not config and not os.path.exists(path):
        return {}
    try:
        document = tomllib.loads(_read(path, "read the settings").decode())
    except ValueError as error:  # no UTF-8, no TOML
        raise Invalid(f"{path}: {error}")
    tables = {row.name.partition(".")[0] for row in SETTINGS if "." in row.name}
    found: dict[str, Any] = {}
    for key, value in document.items():
        if key in tables and isinstance(value, dict):
            found.update((f"{key}.{inner}", item) for inner, item in value.items())
        else:
            found[key] = value
    for name in found:
        if name not in _ROWS:
            raise _unknown(name, path)
    return {name: read_value(_ROWS[name], value, path) for name, value in found.items()}


def _read(path: str, doing: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_FILE_LIMIT_BYTES)
    except OSError as error:
        raise from_os_error(error, f"{doing} ({path})")


def _unknown(name: str, where: str) -> Invalid:
    import difflib

    names = [row.variable if name.startswith(PREFIX) else row.name for row in SETTINGS]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]}?" if near else "docs/reference/registry-settings.md lists them."
    return Invalid(f"{where}: unknown setting {name!r}", hint=hint)
