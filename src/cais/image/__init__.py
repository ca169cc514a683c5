"""Images: configs, manifests and layers as one thing with names. Composes ``content`` and ``snapshot``.

    store      names and ids to images; registering, tagging, sizes
    records    the table that ``image ls`` shows, so that it reads no JSON
    layers     unpacking on first use; a Source that packs built layers again
    assemble   a new image from a base, new layers and a run config
    filters    ``--filter`` of ls and prune
    repack     an image as a registry takes it: layers packed, attestations made anew
    compress   layers compressed, once               formats    OCI's media types or Docker's
    origins    which repositories have a blob             manifest_lists  lists that are put together by hand
    layout_directory, archive_writer   OCI layouts as directories and as files, to copy from and to
    removal    rm and prune with Docker's rules
    views      inspect and history as Docker shows them
    archive, load, save, importing   archives in, out, and a bare tar as an image

It promises: an image that it shows is complete (config, manifest, every layer as blob or snapshot), and what was
received keeps its bytes and digests. Who may enter: ``build``'s solver and ``engine``.
"""
