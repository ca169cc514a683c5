"""Volume: named directories that outlive containers.

It owns the tables ``volumes`` and ``volume_snapshots``, and ``<root>/volumes/<id>/data``. It fills a new volume from
what the image has at its mount point, as Docker does. It does not know which containers use a volume: it is told.
What is written as a whole (a copy, an import) is made beside, and takes its place by one change of a record.

    records    a volume as a value, and the tables
    store      volumes by name: records and directories
    options    the options of the driver local, checked; owner, mode and bound of a new directory
    mounting   volumes that are a file system from elsewhere, mounted while a container runs
    filling    the first use of a volume by a container
    snapshots  the files of a volume as they were
    sizes      what volumes take, remembered
    caches     the cache mounts of RUN: volumes of kind cache, and the locks of those who share them
"""
