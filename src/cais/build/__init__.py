"""Works: building. A Dockerfile becomes a graph of vertices, the graph a plan, and the plan is solved.

    dockerfile/   the language: parse, format, expand; knows nothing of building
    graph         vertices and ops, as values
    lower         instructions to graph, pure (base images' configs are handed in)
    plan          graph and records to verdicts: hit, miss with its reason, pending; pure
    solve         runs what the plan says must run, independent stages in parallel

It is handed its sources; it never reads the environment and never talks to a registry.
"""
