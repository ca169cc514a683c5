"""The registry: the door that speaks the OCI distribution API (specification 1.1) and Docker's token protocol.

It translates, and holds no rules: those are the catalog's. It runs on an asynchronous server and calls the catalog in
threads.
"""
