"""The catalog: the domain of registry and hub. Repositories, tags, manifests, uploads, accounts, permissions, gc.

It promises: what was acknowledged can be read again; every request is decided in one place, and denied where no rule
allows it. It has no state of its own but caches of what never changes: any replica on the same records and blobs
answers any request.

    catalog    Catalog: opened from settings, it hands out the rest
    settings   CatalogSettings: one value, made by a door
    access     who asks, and what they may: every request is decided there
    rules      the rules of it, pure: grants, patterns, public and private
    passwords, attempts, tokens, scopes, keys
               how somebody proves who they are, and what a token says
    accounts, robots, grants
               who there is, and what is granted to them
    administration
               all of that for who runs the registry
    errors     what can be wrong, with the specification's codes
    names      the grammar of repositories, tags, digests
    uploads    blobs on their way in: begin, append, finish, cancel; hashing: what they hash to so far;
               beforehand: some are begun before they are asked for
    blobs      blobs that are there: open, mount, delete
    manifests  manifests: put (what they refer to is there), get, delete; referrers; documents: what their bytes say
    tags       tags: list, delete; the list of repositories
    gc         what nothing needs goes, while the registry serves
    strays     bytes of which the database knows nothing
    turns      work that one of all replicas does at a time
    check      whether everything is there, and mending it
    backup, backup_archive
               all records and blobs to a directory or a tar stream, and back into an empty registry
    docker_import, docker_storage
               taking over what a docker-registry has stored
"""
