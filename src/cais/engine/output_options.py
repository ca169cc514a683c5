"""What ``--output`` says: read and checked before anything is built, in BuildKit's words."""

from __future__ import annotations

from collections.abc import Sequence

from cais.engine.build_options import BuildOptions
from cais.errors import Invalid, Unsupported
from cais.spec.named import NamedTuple
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.annotations import Annotation

KINDS = ("image", "docker", "oci", "local", "tar", "cacheonly", "registry")
_FILES = frozenset(("dest", "platform-split"))
_IMAGE = frozenset((
    "name", "compression", "compression-level", "force-compression", "oci-mediatypes", "rewrite-timestamp",
    "dangling-name-prefix", "name-canonical", "unpack", "store", "push", "push-by-digest", "registry.insecure",
    "buildinfo",
))  # fmt: skip
_OPTIONS = {
    "local": _FILES,
    "tar": _FILES,
    "oci": _IMAGE | {"dest", "tar"},
    "docker": _IMAGE | {"dest", "tar"},
    "image": _IMAGE,
    "registry": _IMAGE,
    "cacheonly": frozenset(),
}
_BOOLEANS = (
    "force-compression", "oci-mediatypes", "rewrite-timestamp", "name-canonical", "unpack", "store", "push",
    "push-by-digest", "registry.insecure", "buildinfo", "tar", "platform-split",
)  # fmt: skip
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_LEVELS = {"gzip": 9, "zstd": 22, "none": 0}


class Output(NamedTuple):
    """One ``--output``. ``destination`` is a path, ``-`` for standard output, or "" (nowhere but in the store).

    ``compression`` is gzip, zstd, none, or "" where nothing is asked; ``level`` its own. ``force``: also layers that
    came compressed in another way. ``oci``: media types of OCI, else Docker's. ``split``: several platforms each get a
    directory. ``archive``: a tar, else an image layout in a directory. ``store``: the image is kept. ``push``: it is
    sent to the registries of its names, or (``by_digest``) to their repositories without a tag. ``canonical``: it has
    the names with its digest, too. ``insecure``: its registry is.
    """

    kind: str
    destination: str = ""
    names: tuple[str, ...] = ()
    compression: str = ""
    level: int | None = None
    force: bool = False
    oci: bool = True
    annotations: tuple[Annotation, ...] = ()
    dangling_prefix: str = ""
    split: bool = True
    archive: bool = True
    store: bool = True
    rewrite_timestamp: bool = False
    push: bool = False
    by_digest: bool = False
    canonical: bool = False
    insecure: bool = False

    @classmethod
    def parse(cls, text: str) -> Output:
        """``type=KIND[,dest=PATH][,name=..]``; a lone path is ``local``, a lone ``-`` ``tar``.

        Raises Invalid; Unsupported for what this version does not do.
        """
        if not text:
            raise Invalid("--output is empty", hint="Give a directory, or type=KIND,dest=PATH.")
        if "=" not in text and "," not in text:
            return cls("tar", "-") if text == "-" else cls("local", text)
        given: dict[str, str] = {}
        names: list[str] = []
        annotations: list[Annotation] = []
        for field in fields(text):
            key, equals, value = field.partition("=")
            key = key.strip()
            if not equals:
                raise Invalid(f"invalid value {field}", hint=f"--output is key=value,key=value; this is {text!r}.")
            if key.startswith("annotation"):
                from cais.engine.annotations import annotation_option

                annotations.append(annotation_option(key, value))
            elif key.lower() == "name":
                names += [name.strip() for name in value.split(",") if name.strip()]
            else:
                given[key.lower()] = value
        kind = given.pop("type", "").strip()
        if not kind:
            raise Invalid("type is required for output", hint=f"The types are: {', '.join(KINDS)}.")
        if kind not in KINDS:
            raise Invalid(f'exporter "{kind}" could not be found', hint=f"The types are: {', '.join(KINDS)}.")
        known = _OPTIONS[kind]
        for key in (*given, *(("name",) if names else ()), *(("annotation",) if annotations else ())):
            if key not in known and not (key == "annotation" and "name" in known):
                raise Unsupported(
                    f"{key!r} is no option of --output type={kind} (in {text!r})",
                    hint=f"Its options are: {', '.join(sorted(known))}.",
                )
        return cls._of(kind, given, tuple(names), tuple(annotations))

    @classmethod
    def _of(
        cls, kind: str, given: dict[str, str], names: tuple[str, ...], annotations: tuple[Annotation, ...]
    ) -> Output:
        flags = {key: _truth(key, given[key]) for key in _BOOLEANS if key in given}
        push = flags.get("push", kind == "registry")
        if flags.get("push-by-digest") and not push:
            raise Invalid("push-by-digest needs push=true, or type=registry")
        destination = given.get("dest", "")
        if kind == "local" and not destination:
            raise Invalid("dest is required for local exporter")
        if kind == "local" and destination == "-":
            raise Invalid("dest cannot be stdout for local exporter", hint="Give a directory, or use type=tar.")
        archive = flags.get("tar", True)
        if not archive and destination in ("", "-"):
            raise Invalid(f"--output type={kind},tar=false needs a dest=DIRECTORY")
        if not destination and kind in ("oci", "tar"):
            destination = "-"
        compression, level = _compression(given)
        if push and not compression:
            compression = "gzip"  # a registry is sent no layer as it is
        return cls(
            kind,
            destination,
            names,
            compression,
            level,
            flags.get("force-compression", False),
            # zstd is known to OCI alone.
            flags.get("oci-mediatypes", True) or compression == "zstd",
            annotations,
            given.get("dangling-name-prefix", ""),
            flags.get("platform-split", True),
            archive,
            flags.get("store", True),
            flags.get("rewrite-timestamp", False),
            push,
            flags.get("push-by-digest", False),
            flags.get("name-canonical", False),
            flags.get("registry.insecure", False),
        )

    @property
    def keeps_image(self) -> bool:
        return self.kind in ("image", "registry") or (self.kind == "docker" and not self.destination)

    @property
    def makes_image(self) -> bool:
        return self.kind not in ("local", "tar", "cacheonly")

    def references(self, tags: Sequence[str]) -> list[Reference]:
        """The names of its image: those of ``--tag`` and its own. Raises Invalid."""
        return [_tag(name) for name in dict.fromkeys([*tags, *self.names])]


def fields(text: str) -> list[str]:
    """The fields of a line of CSV (RFC 4180), as Docker reads options. Raises Invalid."""
    if '"' not in text:
        return text.split(",")
    found: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            field, rest = _quoted(text, rest[1:])
        else:
            field, comma, after = rest.partition(",")
            if '"' in field:
                raise Invalid(f'parse error in {text!r}: bare " in non-quoted-field', hint='As in: "name=a,b",type=oci')
            rest = comma + after
        found.append(field)
        if not rest:
            return found
        if not rest.startswith(","):
            raise Invalid(f'parse error in {text!r}: extraneous or missing " in quoted-field')
        rest = rest[1:]


def _quoted(text: str, rest: str) -> tuple[str, str]:
    """A field whose first quote is gone already, and what follows its last."""
    field = ""
    while True:
        part, quote, rest = rest.partition('"')
        field += part
        if not quote:
            raise Invalid(f'parse error in {text!r}: extraneous or missing " in quoted-field')
        if not rest.startswith('"'):
            return field, rest
        field += '"'
        rest = rest[1:]


def _tag(name: str) -> Reference:
    """A name for an image that is made. Raises Invalid."""
    try:
        found = Reference.parse(name)
    except Invalid as error:
        raise Invalid(f'invalid tag "{name}": {error.message}', hint=error.hint)
    if found.digest is not None:
        raise Invalid(
            f'invalid tag "{name}": refusing to create a tag with a digest reference',
            hint="The build makes the digest.",
        )
    return found


def parse_outputs(options: BuildOptions, platforms: int = 1) -> list[Output]:
    """Without any, the image is kept. ``platforms`` is how many there are.

    Raises Invalid and Unsupported for what cannot be put out so, before anything is built.
    """
    outputs = [Output.parse(text) for text in options.outputs] or [Output("image")]
    taken: set[str] = set()
    for output in outputs:
        if not output.references(options.tags) and output.push:
            raise Invalid("tag is needed when pushing to registry", hint="Give the image a name: -t REGISTRY/NAME:TAG")
        if output.destination:
            if output.destination in taken:
                raise Invalid(f"two outputs go to {output.destination}", hint="Give each --output a dest of its own.")
            taken.add(output.destination)
        if output.destination == "-" and (options.stdout is None or options.stdout.isatty()):
            raise Invalid(
                f"dest file is required for {output.kind} exporter. refusing to write to console",
                hint="Give --output a dest=FILE, or redirect.",
            )
        if platforms > 1 and output.kind == "docker" and output.destination:
            raise Unsupported("docker exporter does not support exporting manifest lists, use the oci exporter instead")
    if options.annotations or any(output.annotations for output in outputs):
        from cais.engine.annotations import check_annotations, parse_annotations

        given = parse_annotations(options.annotations)
        for output in outputs:
            if output.makes_image:
                check_annotations([*given, *output.annotations], platforms)
    return outputs


def _truth(key: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise Invalid(f"non-bool value {value} specified for {key}", hint="It is true or false.")


def _compression(given: dict[str, str]) -> tuple[str, int | None]:
    kind = given.get("compression", "")
    if kind == "estargz":
        raise Unsupported(
            "compression=estargz is not made by cais",
            hint="Use gzip, zstd or uncompressed: any registry and runtime reads them.",
        )
    if kind not in ("", "gzip", "zstd", "uncompressed"):
        raise Invalid(f"unsupported compression type {kind}", hint="The types are: gzip, zstd, uncompressed.")
    kind = "none" if kind == "uncompressed" else kind
    text = given.get("compression-level")
    if text is None:
        return kind, None
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise Invalid(f"non-integer value {text} specified for compression-level")
    kind = kind or "gzip"
    if int(text) > _LEVELS[kind]:
        raise Invalid(f"compression-level {text} is not known to {kind}", hint=f"It is 0 to {_LEVELS[kind]}.")
    return kind, int(text)
