"""TLS: whom to trust and who we are, by Docker's layout of certificates (``certs.d``).

A directory for each registry, named as in its images' names (``reg.example:5000``), holds authorities (``*.crt``) and
this client's certificates (``*.cert`` with a ``*.key`` of the same name). The system's authorities are trusted besides.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.errors import Invalid, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl


def context_of(directories: Sequence[str], host: str, *, verify: bool = True, also_trusted: str = "") -> ssl.SSLContext:
    """For connections to ``host`` (with its port, as in names), by its directories below ``directories``.

    ``also_trusted``: another host whose authorities (never its client certificate) are trusted, too: those of a
    registry hold for the hosts that it leads to. Raises Invalid (a certificate that cannot be read), Denied.
    """
    import ssl

    from cais.host.sockets import secured

    context = secured(ssl.create_default_context())
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for directory in directories:
        for name in dict.fromkeys((host, also_trusted)):
            if name:
                _load(context, os.path.join(directory, name), client=name == host)
    return context


def _load(context: ssl.SSLContext, directory: str, *, client: bool) -> None:
    import ssl

    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise from_os_error(error, f"read the certificates in {directory}")
    for name in names:
        path = os.path.join(directory, name)
        try:
            if name.endswith(".crt"):
                context.load_verify_locations(cafile=path)
            elif name.endswith(".cert") and client:
                key = name.removesuffix(".cert") + ".key"
                if key not in names:
                    raise Invalid(
                        f"missing key {key} for client certificate {name} in {directory}",
                        hint="A certificate authority's file ends in .crt.",
                    )
                context.load_cert_chain(path, os.path.join(directory, key), password=_no_password)
            elif name.endswith(".key") and client and name.removesuffix(".key") + ".cert" not in names:
                raise Invalid(f"missing client certificate {name.removesuffix('.key')}.cert for key {name}")
        except ssl.SSLError as error:
            raise Invalid(f"{path} is no certificate, or not one of its key: {error.reason or 'it cannot be read'}")
        except ValueError:
            raise Invalid(f"{path}: the key has a password, which nobody could be asked for")
        except OSError as error:
            raise from_os_error(error, f"read {path}")


def _no_password() -> str:
    raise ValueError
