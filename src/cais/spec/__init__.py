"""Words: the values that all rooms speak of. Immutable, small, and free of I/O, clock and environment.

Nouns are the OCI's (https://github.com/opencontainers/image-spec, distribution-spec). What came from outside keeps its
raw bytes: a digest is never recomputed from a re-encoding, and fields we do not know survive a round trip.
Import from the modules (``cais.spec.digest``), so that a command loads only the words it uses.
"""
