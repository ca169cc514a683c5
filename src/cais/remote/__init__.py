"""Remote registries: the OCI distribution API as a client speaks it.

It promises: nothing that was received is believed before its digest and size are verified; a credential goes to the
host it is for and nowhere else, and is in no error, log or representation; what a broken connection left is fetched
from that byte on. It knows descriptors and bytes, and neither images nor the local store.
"""
