"""Bake: several builds that files describe (docker-bake.hcl, docker-bake.json, compose files).

    definition  ``read``: a ``Definition`` of files, once their variables have values
    compose, compose_variables
                compose files as such
    choose      the targets that are asked for, with all that they inherit and what the command line overrides
    fields, entries
                what a target may say, and how two of it become one

Pure but for reading a compose file's ``.env``; ``engine.bake`` builds the targets.
"""
