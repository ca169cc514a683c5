"""Sources: what a build reads from elsewhere, fetched and kept under ``sources/`` of the root directory.

    urls        what a text is: a file's URL, a repository's; names and credentials in it
    git_urls    BuildKit's ways to write a repository: fragments, queries, ``git@host:path``
    addresses   which hosts are this machine or its network's, where no redirect may lead
    store       what is kept: rows, directories, leases; ingest, then commit
    http        one file from an http(s) URL, within limits
    files       such files, kept, and asked for again only where they may have changed
    command     the git command, shut off from this user's configuration, within limits
    git         commits of repositories, kept, and their files; modules: their submodules

Everything that comes in is hostile: redirects, names, sizes, ends that never come. Nothing is visible before it is
complete and verified. Credentials of a URL reach no row, log, key or error. Entered by the engine, which hands the
files to the builder as contexts; the builder asks ``urls`` and ``git_urls`` what the words of an ADD are.
"""
