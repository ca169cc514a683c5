"""Events: what happened to containers, images, volumes and networks, for every process that wants to know.

    log      the writers' side
    reading  the readers' side

It owns ``<root>/events``: a log of lines and the one before it. It promises that writing costs one ``write`` and never
fails its caller, that a reader sees each event once and in the order of writing, also while the log is changed for a
new one, and that a line broken by a crash is nobody's trouble. The works and the engine write; the engine reads.
"""
