"""Attestations of a build: what ``--provenance``, ``--sbom`` and ``--attest`` ask for, and making it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from cais.build import provenance
from cais.build.graph import GitSource, HttpSource, SourceImage, Vertex, reachable
from cais.build.lowering.state import unicode_only
from cais.build.provenance import Facts, Material
from cais.build.sbom.package import Package, docker_purl
from cais.engine.build_bases import Bases
from cais.engine.build_input import BuildInput
from cais.engine.build_options import BuildOptions
from cais.engine.build_run import Built
from cais.engine.build_sources import shown_source
from cais.engine.stores import Stores
from cais.errors import Invalid, Unsupported
from cais.image.assemble import Assembled
from cais.image.attestations import SBOM, Attestation, statement, store_attestations, subjects_of
from cais.sources.urls import without_credentials
from cais.spec import timestamp
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.media_types import OCI_LAYER
from cais.spec.named import NamedTuple
from cais.spec.reference import Reference

_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class Attests(NamedTuple):
    """``provenance`` is None where none is wanted; ``inline_only``: not where only files are put out."""

    provenance: provenance.Wanted | None = None
    sbom: bool = False
    inline_only: bool = False

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Attests:
        """Each is ``type=sbom|provenance[,KEY=VALUE..]``; the last of a type counts. Raises Invalid, Unsupported."""
        wanted = cls()
        for text in texts:
            given: dict[str, str] = {}
            for field in text.split(","):
                key, equals, value = field.partition("=")
                if not equals:
                    raise Invalid(
                        f"invalid value {field} in --attest {text!r}",
                        hint="It is as in --attest type=provenance,mode=max; --provenance and --sbom leave type= out.",
                    )
                given[key.strip().lower()] = value.strip()
            kind = given.pop("type", "")
            disabled = _truth(given.pop("disabled", "false"), text)
            if kind == "sbom":
                if given and not disabled:
                    raise Unsupported(
                        f"--attest type=sbom has no option {next(iter(given))!r} in this version (in {text!r})",
                        hint="Cais looks for packages itself: --sbom=true.",
                    )
                wanted = wanted._replace(sbom=not disabled)
            elif kind == "provenance":
                inline_only = _truth(given.pop("inline-only", "false"), text)
                found = None if disabled else _provenance(given, text)
                wanted = wanted._replace(provenance=found, inline_only=inline_only and not disabled)
            elif kind:
                raise Invalid(f"attestation type {kind!r} is not known", hint="The types are sbom and provenance.")
            else:
                raise Invalid(f"attestation type not specified in {text!r}")
        return wanted

    @property
    def any(self) -> bool:
        return self.sbom or self.provenance is not None


def _provenance(given: Mapping[str, str], text: str) -> provenance.Wanted:
    wanted = provenance.Wanted()
    for key, value in given.items():
        if key == "mode":
            if value not in ("min", "max"):
                raise Invalid(f"invalid mode {value!r} in {text!r}: it is min or max")
            wanted = wanted._replace(full=value == "max")
        elif key == "version":
            if value not in ("v0.2", "v1"):
                raise Invalid(f"invalid version {value!r} in {text!r}: it is v0.2 or v1")
            wanted = wanted._replace(version=value)
        elif key == "builder-id":
            wanted = wanted._replace(builder=value)
        elif key == "reproducible":
            wanted = wanted._replace(reproducible=_truth(value, text))
        else:
            raise Invalid(f"attestation type provenance has no option {key!r} (in {text!r})")
    return wanted


def _truth(value: str, text: str) -> bool:
    if value not in (*_TRUE, *_FALSE):
        raise Invalid(f"invalid value {value!r} in {text!r}: it is true or false")
    return value in _TRUE


class Attestor:
    """Makes the attestations of one build, for each platform and each output."""

    def __init__(self, wanted: Attests, stores: Stores, options: BuildOptions, given: BuildInput, bases: Bases) -> None:
        self._wanted = wanted
        self._stores = stores
        self._options = options
        self._given = given
        self._bases = bases
        self._started = time.time()
        self._packages: dict[Digest | None, list[Package]] = {}
        self._invocation = ""

    def attest(self, built: Built, child: Assembled, names: Sequence[Reference]) -> Descriptor:
        """Stores what is to be said of ``child``, one platform's image; returns the entry for the index.

        Raises Denied where the file system cannot be looked at, Unavailable (no space).
        """
        platform = str(built.lowered.platform)
        said = self._said(built, names[0].familiar if names else "image", child.config.created)
        purls = [docker_purl(name.familiar_name, name.tag, "", platform) for name in names]
        return store_attestations(self._stores.content, child.manifest.digest, purls, said)

    def files(self, built: Built, root: str) -> dict[str, bytes]:
        """What stands beside the files of a target that are put out, by name: statements about each of them.

        ``root`` is where they are. Raises Denied where one cannot be read.
        """
        if self._wanted.inline_only:
            said = [item for item in self._said(built, "files", "") if item.predicate_type == SBOM]
        else:
            said = self._said(built, "files", "")
        subjects = subjects_of(root) if said else []
        return {
            "sbom.spdx.json" if item.predicate_type == SBOM else "provenance.json": statement(item, subjects)
            for item in said
        }

    def provenance(self, built: Built, *, full: bool) -> dict[str, object]:
        """A predicate that goes to nobody but the caller."""
        said: dict[str, object] = unicode_only(provenance.predicate(self._facts(built), provenance.Wanted(full=full)))
        return said

    def _said(self, built: Built, name: str, created: str) -> list[Attestation]:
        """``created`` is when what they are about was made; "": now, or at the epoch that was given."""
        said = []
        if self._wanted.sbom:
            from cais import __version__
            from cais.build.sbom import spdx

            now = self._started if self._options.epoch is None else float(self._options.epoch)
            from cais.build.sbom.scan import PACKAGE_LIMIT

            packages = self._found(built.chain)
            document = spdx.document(
                packages,
                name=name,
                created=created or timestamp.format(now),
                tool=f"cais-{__version__}",
                partial=len(packages) >= PACKAGE_LIMIT,
            )
            said.append(Attestation(SBOM, document))
        if self._wanted.provenance is not None:
            predicate = provenance.predicate(self._facts(built), self._wanted.provenance)
            said.append(Attestation(self._wanted.provenance.predicate_type, unicode_only(predicate)))
        return said

    def _found(self, chain: Digest | None) -> list[Package]:
        if chain not in self._packages:
            self._packages[chain] = self._scanned(chain) if chain is not None else []
        return self._packages[chain]

    def _scanned(self, chain: Digest) -> list[Package]:
        from cais.build.sbom.scan import scan
        from cais.engine.output_files import ViewedFiles

        self._bases.ensure(chain)
        with ViewedFiles(self._stores, chain) as directory:
            return scan(directory)

    def _facts(self, built: Built) -> Facts:
        options = self._options
        arguments = {f"label:{name}": value for name, value in options.labels.items()}
        if options.target:
            arguments["target"] = options.target
        if options.no_cache:
            arguments["no-cache"] = ""
        if options.network != "default":
            arguments["force-network-mode"] = options.network
        context = self._given.sources.context
        vertices = reachable(built.lowered.vertex)
        layers = {}
        for vertex in vertices:
            result = built.results.get(vertex)
            if result is not None and result.layer is not None:
                layers[vertex] = Descriptor(OCI_LAYER, result.layer.diff_id, result.layer.size_bytes)
        finished = time.time()
        if options.epoch is not None:
            # The same input gives the same bytes.
            started = finished = float(options.epoch)
            self._invocation = Digest.of(repr((self._given.source, options.epoch)).encode()).hex[:25]
        else:
            from cais.host.files import random_name

            started = self._started
            self._invocation = self._invocation or random_name(16)
        return Facts(
            self._given.dockerfile_name,
            shown_source(self._given.source).encode("utf-8", "surrogateescape"),
            str(self._stores.platform),
            options.build_args,
            arguments,
            vertices,
            layers,
            self._materials(built, vertices),
            timestamp.format(started),
            timestamp.format(finished),
            self._invocation,
            self._from_elsewhere(context) if context is not None else None,
        )

    def _materials(self, built: Built, vertices: Sequence[Vertex]) -> list[Material]:
        found: dict[Material, None] = {}
        images = [vertex.op for vertex in vertices if isinstance(vertex.op, SourceImage)]
        if built.lowered.base_reference:
            images.append(SourceImage(built.lowered.base_reference, built.lowered.base_platform))
        for image in images:
            name, digest = Reference.parse(image.reference), self._bases.image(*image).digest
            purl = docker_purl(
                name.familiar_name, name.tag, str(name.digest) if name.digest else "", str(image.platform)
            )
            found[Material(purl, digest.algorithm, digest.hex)] = None
        found |= dict.fromkeys(map(self._from_elsewhere, self._given.sources.kept))
        return sorted(found)

    def _from_elsewhere(self, op: HttpSource | GitSource) -> Material:
        facts = self._given.sources.kept[op].facts
        uri = without_credentials(op.url)[0]
        if isinstance(op, HttpSource):
            return Material(uri, "sha256", str(facts.get("sha256", "")))
        return Material(uri + (f"#{op.reference}" if op.reference else ""), "sha1", str(facts.get("commit", "")))
