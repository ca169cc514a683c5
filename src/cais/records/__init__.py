"""Records of the servers: the facts of registry and hub in SQL, on SQLite or PostgreSQL.

It promises: a change is whole or not there, whichever of several replicas makes it; the schema is brought up to date by
migrations. It knows rows, and no rules: those are the catalog's.
"""
