"""Blobs of the servers: bytes by their digest, and uploads that grow, in a directory or an S3-compatible store.

It promises: what an upload has acknowledged survives the process; what is finished survives the host. A finished blob
has a location, which is used once and never again: who removes one location can take no other's bytes. Whether a blob
is there is not decided here: it is when the database knows its location. It knows nothing of repositories, and keeps no
facts: those are the database's.

    port     Blobs, and what it hands out: the promises every implementation keeps
    files    FileBlobs: a directory
    s3       S3Blobs: an S3-compatible bucket; objects are its bytes by their names, s3_settings where it is
"""
