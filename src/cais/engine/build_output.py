"""What becomes of a build's result: an image that is kept, an archive, a layout, a directory, a tar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cais.engine.build_bases import Bases
from cais.engine.build_options import BuildOptions
from cais.engine.build_run import Built
from cais.engine.build_steps import Step
from cais.engine.output_options import Output
from cais.engine.stores import Stores
from cais.errors import CaisError, Failed
from cais.image.assemble import Assembled, Base, NewLayer, assemble, store
from cais.image.store import Image
from cais.spec import media_types as types
from cais.spec import timestamp
from cais.spec.descriptor import Descriptor
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform
from cais.spec.progress import silent
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.cache_config import CachedLayer
    from cais.engine.annotations import Annotation
    from cais.engine.build_attest import Attestor


class Product(NamedTuple):
    """What was made. ``image_id`` is the config's digest, of several platforms that of their index.

    ``target`` is the manifest or the index; None where only files were put out, and ``image_id`` "".
    """

    image_id: str = ""
    target: Descriptor | None = None
    names: tuple[Reference, ...] = ()


class OutputRun:
    """Puts one build's targets out."""

    def __init__(
        self,
        stores: Stores,
        options: BuildOptions,
        built: Sequence[Built],
        bases: Bases,
        attestor: Attestor | None = None,
        cached: Sequence[CachedLayer] | None = None,
        step: Callable[[str], Step] | None = None,
    ) -> None:
        """``cached`` is what the images' configs shall say of their layers' keys; None: nothing. ``step`` shows what is
        sent to registries."""
        self._step = step or (lambda name: Step(silent, 0, name))
        self._stores = stores
        self._options = options
        self._built = built
        self._bases = bases
        self._attestor = attestor
        self._cached = cached
        self._assembled: list[Assembled] = []

    def run(self, outputs: Sequence[Output]) -> Product:
        """All of them, in their order; what they made: of a kept image first, else of an archive."""
        made: list[tuple[bool, Product]] = []
        for output in outputs:
            if output.makes_image:
                made.append((not output.keeps_image, self._image(output)))
            elif output.kind != "cacheonly":
                from cais.engine.output_files import put_files

                for built in self._built:
                    self._stand(built)
                targets = [(built.platform, built.chain) for built in self._built]
                put_files(self._stores, output, targets, self._options, self._said_beside)
        if not made:
            return Product()
        first = min(made, key=lambda item: item[0])[1]
        names = dict.fromkeys(name for _, product in made for name in product.names)
        return first._replace(names=tuple(names))

    def _stand(self, built: Built) -> None:
        """The target's file system may be one that nothing had to be carried out on."""
        vertex = built.lowered.vertex
        if vertex is not None and built.chain is not None:
            from cais.build.standing import Standing

            standing = Standing(self._stores.snapshots, self._bases.ensure)
            standing.know(built.results[vertex])
            standing.ensure(built.chain)

    def _image(self, output: Output) -> Product:
        names = output.references(self._options.tags)
        annotations = self._annotations(output)
        if self._attestor is not None:
            output = output._replace(oci=True)  # Docker's own forms have no room for attestations
        children = [
            self._packed(output, assembled, annotations, built)
            for assembled, built in zip(self._parts(), self._built, strict=True)
        ]
        for child in children:
            store(self._stores.content, child)
        said = [
            self._attestor.attest(built, child, names)
            for child, built in zip(children, self._built, strict=True)
            if self._attestor is not None
        ]
        if len(children) > 1 or said:
            target = self._index(output, children, annotations, said)
            image_id = target.digest if len(children) > 1 else children[0].config.digest
        else:
            target = _described(children[0].target, self._built[0], annotations)
            image_id = children[0].config.digest
        if not names and output.dangling_prefix and output.keeps_image:
            # A name that says nothing but which image it is.
            names = [Reference.parse(f"{output.dangling_prefix}:{target.digest.short}")]
        if not output.keeps_image:
            self._archive(output, children, target, names)
            return Product(image_id, target, tuple(names))
        if output.canonical:
            names += [name._replace(tag="", digest=target.digest) for name in names]
        if output.store:
            self._stores.images.register(target, names)
        if output.push:
            self._push(output, target, [name for name in names if name.digest is None])
        return Product(image_id, target, tuple(names))

    def _push(self, output: Output, target: Descriptor, names: Sequence[Reference]) -> None:
        """To the registries, after it is kept: what they refuse need not be built again."""
        from cais.engine.push import push_built

        if output.by_digest:
            names = list(dict.fromkeys(name._replace(tag="") for name in names))
        for name in names:
            try:
                with self._step(f"[internal] pushing {name}") as step:
                    push_built(self._stores, name, target, step, insecure=output.insecure)
            except CaisError as error:
                error.message = f"failed to push {name}: {error.message}"
                raise

    def _said_beside(self, number: int, root: str) -> dict[str, bytes]:
        """What is put out with the files of a target: attestations, by name."""
        return self._attestor.files(self._built[number], root) if self._attestor is not None else {}

    def _annotations(self, output: Output) -> Sequence[Annotation]:
        if not output.annotations and not self._options.annotations:
            return ()
        from cais.engine.annotations import parse_annotations

        return [*output.annotations, *parse_annotations(self._options.annotations)]

    def _parts(self) -> list[Assembled]:
        """Every platform's image with its layers as they are here."""
        if not self._assembled:
            self._assembled = [_assembled(self._options, built, self._bases) for built in self._built]
            if self._cached is not None:
                self._assembled = [_with_cache(assembled, self._cached) for assembled in self._assembled]
        return self._assembled

    def _packed(
        self, output: Output, assembled: Assembled, annotations: Sequence[Annotation], built: Built
    ) -> Assembled:
        own = _of_kind(annotations, "manifest", built.platform)
        layers: Sequence[Descriptor] = assembled.manifest.layers
        if output.compression:
            from cais.image.compress import Compression, compressed_layers

            how = Compression(output.compression, output.level, output.force)
            keeps = self._sent_as_it_is if output.push and not output.force else None
            layers = compressed_layers(self._stores.images, assembled, how, keeps)
        if layers == assembled.manifest.layers and output.oci and not own:
            return assembled
        from cais.image.assemble import with_layers

        return with_layers(assembled, layers, oci=output.oci, annotations=own)

    def _sent_as_it_is(self, layer: Descriptor) -> bool:
        """Of a base: what came compressed stays so; a plain archive that was imported goes compressed."""
        return self._stores.content.exists(layer) and types.compression_of(layer.media_type) != "none"

    def _index(
        self,
        output: Output,
        children: Sequence[Assembled],
        annotations: Sequence[Annotation],
        said: Sequence[Descriptor] = (),
    ) -> Descriptor:
        from cais.image.assemble import Child, index, store_index

        made = index(
            [
                Child(child, built.platform, _of_kind(annotations, "manifest-descriptor", built.platform))
                for child, built in zip(children, self._built, strict=True)
            ],
            said,
            oci=output.oci,
            annotations=_of_kind(annotations, "index"),
        )
        own = _of_kind(annotations, "index-descriptor")
        return store_index(self._stores.content, made)._replace(annotations=own or None)

    def _archive(
        self, output: Output, children: Sequence[Assembled], target: Descriptor, names: Sequence[Reference]
    ) -> None:
        from cais.engine.output_files import write
        from cais.image.save import Wanted, archive, layout

        # Of several, the one that this host runs stands for all where only one can.
        host = self._stores.platform
        own = next((child for child in children if host.matches(child.config.platform)), children[0])
        created = {"org.opencontainers.image.created": own.config.created} if own.config.created else {}
        named = target._replace(annotations={**(target.annotations or {}), **created})
        image = Image(own.config.digest, named, own.manifest, own.config, tuple(names))
        planned = layout(self._stores.images, [Wanted(image, tuple(names))], docker=output.kind == "docker")
        if output.archive:
            write(output.destination, self._options.stdout, archive(planned))
        else:
            from cais.image.layout_directory import write_layout

            write_layout(planned, output.destination)


def _of_kind(annotations: Sequence[Annotation], kind: str, platform: Platform | None = None) -> dict[str, str]:
    """Those that ``kind`` gets of a manifest for ``platform``; of the same key the last."""
    return {
        item.key: item.value
        for item in annotations
        if item.kind == kind and (item.platform is None or item.platform == platform)
    }


def _described(target: Descriptor, built: Built, annotations: Sequence[Annotation]) -> Descriptor:
    own = _of_kind(annotations, "manifest-descriptor", built.platform)
    return target._replace(platform=built.lowered.platform, annotations=own or None)


def _with_cache(assembled: Assembled, cached: Sequence[CachedLayer]) -> Assembled:
    """The image with its own build cache in its config (--cache-to type=inline)."""
    from cais.build.cache_config import INLINE_FIELD, encode_inline
    from cais.spec.image_config import chain_ids
    from cais.spec.manifest import Manifest

    known = {layer.chain: layer for layer in cached}
    chains = chain_ids(assembled.config.diff_ids)
    config = assembled.config.replace(**{INLINE_FIELD: encode_inline(known.get(chain) for chain in chains)})
    return Assembled(config, Manifest.encode(config.descriptor, assembled.manifest.layers))


def _assembled(options: BuildOptions, built: Built, bases: Bases) -> Assembled:
    lowered, results = built.lowered, built.results
    layers = []
    newest = 0
    for vertex in lowered.layers:
        record = results[vertex].layer
        if record is None:
            raise Failed(f"{vertex.origin.text} gave no layer")
        layers.append(NewLayer(record.diff_id, record.size_bytes))
        newest = max(newest, record.newest)
    base = bases.bring(lowered.base_reference, lowered.base_platform) if lowered.base is not None else None
    # The same files give the same image on any day: its time is that of the newest thing in it.
    created = options.epoch
    if created is None:
        created = max(newest, int(timestamp.parse(base.config.created)) if base and base.config.created else 0)
    when = timestamp.format(created)
    return assemble(
        Base(base.config, base.manifest) if base is not None else None,
        layers,
        lowered.run,
        [entry.to_json(when) for entry in lowered.history],
        created=when,
        platform=lowered.platform,
        author=lowered.author,
    )
