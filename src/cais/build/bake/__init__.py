"""Bake: several builds that files describe (docker-bake.hcl, docker-bake.json, compose files).

``read`` makes a ``Definition`` of files, ``choose`` the targets that are asked for, with all that they inherit and what
the command line overrides. Pure but for reading a compose file's ``.env``; ``engine.bake`` builds the targets.
"""
