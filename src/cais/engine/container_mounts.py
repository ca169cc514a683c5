"""What the mounts of a new container need of others: volumes of other containers, images."""

from __future__ import annotations

from cais.container.mount_options import MountPoint, inherited, parse_volumes_from
from cais.container.mounting import check_sources
from cais.container.plan import Plan
from cais.container.records import ContainerRecords
from cais.engine.stores import Stores
from cais.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def mounts_of_others(records: ContainerRecords, texts: Sequence[str]) -> list[MountPoint]:
    """The volumes and binds that ``--volumes-from`` brings; of two at one place the later. Raises NotFound, Invalid."""
    found: dict[str, MountPoint] = {}
    for text in texts:
        name, mode = parse_volumes_from(text)
        try:
            record = records.get(name)
        except (NotFound, Invalid) as error:
            raise type(error)(error.message, exit_code=125)
        for point in Plan.from_json(record.plan).mounts:
            if point.kind in ("volume", "bind"):
                found[point.target] = inherited(point, mode)
    return list(found.values())


def check_mounts(stores: Stores, plan: Plan) -> Plan:
    """``plan`` with the layers of the images that it mounts, unpacked. Raises NotFound, Invalid, and for a source that
    is not there."""
    check_sources(plan.mounts)
    if not any(point.kind == "image" for point in plan.mounts):
        return plan
    return plan._replace(mounts=tuple(_with_image(stores, point) for point in plan.mounts))


def _with_image(stores: Stores, point: MountPoint) -> MountPoint:
    if point.kind != "image":
        return point
    from cais.image.layers import ensure_unpacked

    try:
        image = stores.images.get(point.source, None)
    except (NotFound, Invalid) as error:
        raise type(error)(error.message, hint=error.hint, exit_code=125)
    chain = ensure_unpacked(stores.content, stores.snapshots, image.config, image.manifest)
    return point._replace(chain=chain or "")
