"""Words: the values that all rooms speak of. Immutable, small, and free of I/O, clock and environment.

Nouns are the OCI's (https://github.com/opencontainers/image-spec, distribution-spec). What came from outside keeps its
raw bytes: a digest is never recomputed from a re-encoding, and fields we do not know survive a round trip.
Import from the modules (``cais.spec.digest``), so that a command loads only the words it uses.

    digest, descriptor, media_types, manifest, image_config, platform
                  the documents of an image
    reference     the name of an image
    mount         what is to be mounted where
    progress      events of what is being done
    timestamp, duration, go_duration
                  points in time, and lengths of it for people and for programs
    encoding      JSON as it is stored and hashed
    proxies       which proxy a URL is reached by
    name_filter   filters by name: regular expressions
    named         NamedTuple, without what ``typing`` costs
"""
