"""Where an S3 store is, and how it is used: a value, so that knowing of it needs none of what talks to it."""

from __future__ import annotations

from cais.spec.named import NamedTuple


class S3Settings(NamedTuple):
    """Without keys they are those of the environment (AWS_...) or of the machine's role.

    ``endpoint`` is "" for Amazon's own, else a URL; plain http is used where it says so. ``prefix`` stands before all
    names, so that a bucket can be shared. ``part_bytes`` is the size of a part while few write: with more writers parts
    are smaller, so that all together hold about four of them in memory. ``link_seconds``: for so long a link to a blob
    of one part is good; 0: no links. ``retry_seconds`` is how long one request is repeated before it fails,
    ``answer_seconds`` how long the store may be silent.
    """

    bucket: str
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = ""
    prefix: str = ""
    virtual_hosted: bool = False
    part_bytes: int = 8 << 20
    link_seconds: float = 0.0
    retry_seconds: float = 45.0
    answer_seconds: float = 20.0

    def __repr__(self) -> str:
        return f"S3Settings({self.endpoint} {self.bucket}/{self.prefix})"  # no keys
