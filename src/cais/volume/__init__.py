"""Volume: named directories that outlive containers.

It owns the table ``volumes`` and ``<root>/volumes/<id>/data``. It fills a new volume from what the image
has at its mount point, as Docker does. It does not know which containers use a volume: it is told.

    store      volumes by name: records and directories
    filling    the first use of a volume by a container
    caches     the cache mounts of RUN: volumes of kind cache, and the locks of those who share them
"""
