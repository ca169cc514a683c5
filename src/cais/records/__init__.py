"""Records of the servers: the facts of registry and hub in SQL, on SQLite or PostgreSQL.

It promises: a change is whole or not there, whichever of several replicas makes it; the schema is brought up to date by
migrations. It knows rows, and no rules: those are the catalog's.

    database     Database: reading, writing (whole, and again where two got in each other's way), upgrading
    lookup       Lookup: the queries of every pull, without what SQLAlchemy does around one
    log          the write-ahead log of SQLite: one wait for the disk serves all that wait
    together     changes of several threads in one transaction of SQLite
    metadata     the one MetaData, and the types that mean the same on both databases
    repositories, blobs, manifests, tags, uploads, accounts, robots, grants, signing_keys
                 one subject each: its tables, and the rows that are read and written
    failures     failed attempts to sign in
    links        which repositories have a blob or a manifest: both are kept alike
    jobs         who does what one of all replicas does at a time
    unneeded, foresight, known
                 what the collector removes, what it would remove, and which bytes are somebody's
    faults       what must not be in the records
    whole        all rows as JSON values, for backups
    migrations/  the published steps of the schema, which are never changed; a change is a new step (migrating: run)

Times are seconds since 1970, digests are texts (``sha256:..``), locations are what ``blobs`` has said, as JSON.
"""
