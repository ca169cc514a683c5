"""The registry: the door that speaks the OCI distribution API (specification 1.1) and Docker's token protocol.

It translates, and holds no rules: those are the catalog's. It runs on an asynchronous server and calls the catalog in
threads; every call of the catalog for a request goes through ``Call.run``, which asks first whether it is allowed (but
for ``tokens``, which finds out who asks).

    settings      Settings: flags, environment, file; values, what they may be
    serve         the processes: one that listens and keeps its workers alive, and stops them gracefully
    worker        one that answers; attendant: the one beside them, which collects and shows metrics
    listening     sockets to listen on
    connection    a client's connection: uvicorn's protocol with sendfile, limits and timeouts
    incoming      a large body, straight from the socket
    pace          whether a body comes fast enough
    sending       a file, straight to the socket
    application   the ASGI application: from a request to its answer
    routes        which path is what
    call          Call: one request, authorised; Response: its answer
    blobs, uploads, manifests, lists
                  the handlers, one subject each
    portions      the body of an upload, in portions
    observed      what stands around it: request ids, the access log (access_log), counts, probes (readiness)
    threads       Threads: where requests wait for the catalog
    sign_ins      the threads in which passwords are hashed
    tokens        Docker's token protocol, and the challenges that send clients there
    tls           the certificate, loaded again when it changes
    failures      an error as the specification's JSON
"""
