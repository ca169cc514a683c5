"""What happens to images, told to the log of events in Docker's words, with their labels."""

from __future__ import annotations

from cais.engine.stores import Stores
from cais.errors import CaisError
from cais.spec.encoding import decode


def tell(stores: Stores, action: str, id: str, name: str, labels: str | None = None) -> None:
    """``labels`` are an image record's (JSON), for one that may be gone by now; else they are looked up by ``id``."""
    if labels is None:
        try:
            labels = stores.images.resolve(id).labels
        except CaisError:
            labels = ""
    known = {str(key): str(text) for key, text in decode(labels).items() if key != "name"} if labels else {}
    stores.events.write("image", action, id, {"name": name, **known})
