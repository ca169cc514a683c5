"""Remote registries: the OCI distribution API as a client speaks it.

It promises: nothing that was received is believed before its digest and size are verified; a credential goes to the
host it is for and nowhere else, and is in no error, log or representation; what a broken connection left is fetched
from that byte on. It knows descriptors and bytes, and neither images nor the local store.

    endpoint        where a registry listens, what may be spoken there
    routes          where the images of a name are: registries.toml
    credentials     Docker's config.json, credential helpers
    tls             certs.d
    connections     pools of them: TLS, proxies, time limits
    authorization   challenges, tokens, and who gets a password
    transport       one request: scheme, credentials, retries, redirects
    answers         bodies within limits, refusals as errors; failures: why no answer came; pace: who is too slow
    registry        one repository: manifests, blobs, tags; download, uploads: blobs that go on where they broke
    streamed        a blob that is sent while it is made
    mirrored        one repository, and others that are asked before it
    referrers       what names a manifest as its subject
    listing         catalog and search

Entered by the engine, which hands repositories to ``engine.copy`` as Source and Sink.
"""
