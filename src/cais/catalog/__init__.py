"""The catalog: the domain of registry and hub. Repositories, tags, manifests, uploads, accounts, permissions, gc.

It promises: what was acknowledged can be read again; every request is decided in one place, and denied where no rule
allows it. It has no state of its own: any replica on the same records and blobs answers any request.
"""
