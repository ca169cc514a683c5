"""Dockerfile to build graph, pure: the rooms behind ``cais.build.lower``.

    result     what comes out: ``Lowered``
    state      a stage while it is lowered: its file system so far, its environment, its run config, its history
    arguments  ARG, the platform's and the predefined ones
    stages     which stages the target needs, from which base, with which triggers
    config     instructions that only change the run config
    ports      EXPOSE's grammar
    files      COPY, ADD, WORKDIR; remote: sources of ADD that are elsewhere
    process    RUN; mounts: what ``--mount`` says
    gotext     how Go prints what history shows

Whoever builds enters through ``cais.build.lower.lower``.
"""
