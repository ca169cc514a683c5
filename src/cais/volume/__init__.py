"""Volume: named directories that outlive containers.

It owns the table ``volumes`` and ``<root>/volumes/<id>/data``. It fills a new volume from what the image
has at its mount point, as Docker does. It does not know who uses a volume: it is told.
"""
