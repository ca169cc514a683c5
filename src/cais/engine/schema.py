"""All rooms' tables, by room. The rooms keep them beside the code that uses them; here they come together.

A step once published is never changed; a new one makes ``stores.SCHEMA_VERSION`` one larger.
"""

from __future__ import annotations

from cais.build.records import SCHEMA as BUILDS
from cais.container.records import SCHEMA as CONTAINERS
from cais.content.store import SCHEMA as CONTENT
from cais.content.tags import SCHEMA as TAGS
from cais.host.leases import SCHEMA as LEASES
from cais.image.manifest_lists import SCHEMA as MANIFEST_LISTS
from cais.image.origins import SCHEMA as ORIGINS
from cais.image.records import SCHEMA as IMAGES
from cais.network.records import SCHEMA as NETWORKS
from cais.snapshot.schema import SCHEMA as SNAPSHOTS
from cais.sources.store import SCHEMA as SOURCES
from cais.volume.records import SCHEMA as VOLUMES

SCHEMAS = {
    "leases": LEASES,
    "content": CONTENT,
    "tags": TAGS,
    "snapshots": SNAPSHOTS,
    "images": IMAGES,
    "builds": BUILDS,
    "containers": CONTAINERS,
    "volumes": VOLUMES,
    "sources": SOURCES,
    "networks": NETWORKS,
    "origins": ORIGINS,
    "manifest lists": MANIFEST_LISTS,
}
