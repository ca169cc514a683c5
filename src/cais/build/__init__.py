"""Works: building. A Dockerfile becomes a graph of vertices, the graph a plan, and the plan is solved.

    dockerfile/   the language: parse, format, expand; knows nothing of building
    graph         vertices and ops, as values
    lower         instructions to graph, pure (base images' configs are handed in); lowering/: the rooms behind it
    sharing       what the graphs of several platforms have in common
    plan          graph and records to verdicts: hit, miss with its reason, pending; pure
    reasons       why a step is not in the cache; listing: what a COPY had taken, secret_names: what is not shown
    records       what was built from what: the cache
    solve         runs what the plan says must run, independent stages in parallel; at_work: each thing once
    execute       one vertex: its op (ops/) on a file system, committed as a layer; standing: layers upon others
    context, contexts, tree, ignore
                  the directories that a build reads from, and what stays out of them
    scan, selection, patterns, modes
                  what the sources of a COPY name, and as what it comes
    hashing, stat_cache
                  the content identity of that, and what is known of files that have not changed
    credentials   secrets and SSH agents
    checks/       the build checks; outline: what a Dockerfile offers
    cache_config, cache_layout
                  a cache that is carried elsewhere
    provenance, sbom/
                  what is attested of a result
    bake/, hcl/   several builds that files describe, and the language of these

It is handed its sources; it never reads the environment and never talks to a registry.
"""
