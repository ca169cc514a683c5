"""Blobs of the servers: bytes by their digest, and uploads that grow, in a directory or an S3-compatible store.

It promises: a blob is visible when it is whole and verified, and not before; what an upload has acknowledged survives
the process. It knows nothing of repositories, and keeps no facts: those are the database's.
"""
