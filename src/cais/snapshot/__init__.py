"""Snapshots: the file systems of chains of layers, by chain id.

    store      prepare, commit, view, unpack, pack: implements ``ports.Snapshots``; owns the records (schema: the table)
    elsewhere  layers whose files are in another layer's directory, or still packed in a blob
    collector  forgets what nothing reaches; files that several chains share stay until the last is gone
    drivers    what a driver is, and the choice of one
    overlay, copies   the drivers: a layer as an overlayfs directory, or as a full copy of its tree
    changes    a tree's changes against what is below it
    pack       changes to a layer's deterministic tar
    apply      a layer's tar to a tree; cannot write outside of it (rooted)
    dress      owner, mode, times and attributes of what it brings

A layer that was built here lives as its snapshot only: its tar is produced again when somebody needs the bytes.
Mounts go out as values (``spec.mount``); nothing is mounted here.
"""
