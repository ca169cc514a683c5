"""Content: blobs by their digest, names that point at them, and what keeps both from the garbage collector.

    store      ContentStore: blobs; ingest, verify, commit
    kept       blobs from afar, gone on with where a connection broke
    tags       TagStore: names
    collector  what nothing reaches goes

It promises: nothing is visible before it is complete and verified; what a living process holds by a lease, or
what a root reaches, is never collected. It does not know what a layer or a container is: rooms tell it by edges
(``link``) which key needs which.
"""
