"""What a text is: a URL of a file or none; its credentials and the name of its file. Pure."""

from __future__ import annotations

_HIDDEN = "xxxxx"
NAME_LIMIT_BYTES = 255


def is_http(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def redacted(text: str) -> str:
    """``text`` with ``xxxxx`` for user and password of each URL in it, as BuildKit shows it."""
    if "://" not in text or "@" not in text:
        return text
    import re

    # Any number of @ may stand in what was not escaped; the host begins after the last.
    return re.sub(
        r"(?<=://)([^/?#\s\"']*)@",
        lambda found: f"{_HIDDEN}:{_HIDDEN}@" if ":" in found.group(1) else f"{_HIDDEN}@",
        text,
    )


def without_credentials(url: str) -> tuple[str, str, str]:
    """``url`` without them, the user, and the password, both unescaped."""
    scheme, separator, rest = url.partition("://")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    before, at, host = rest[:end].rpartition("@")
    if not separator or not at:
        return url, "", ""
    from urllib.parse import unquote

    user, _, password = before.partition(":")
    return f"{scheme}://{host}{rest[end:]}", unquote(user), unquote(password)


def file_name(url: str) -> str:
    """The last name of the URL's path, unescaped; "" where it has none that a file could have."""
    from urllib.parse import unquote

    path = url.partition("://")[2].partition("#")[0].partition("?")[0].partition("/")[2]
    return safe_name(unquote(path.rstrip("/").rpartition("/")[2], errors="surrogateescape"))


def disposition_name(header: str) -> str:
    """The file name of a Content-Disposition header (RFC 6266), "" where there is none that can be used."""
    from email.message import Message

    message = Message()
    message["Content-Disposition"] = header
    try:
        name = message.get_filename("")
    except (ValueError, LookupError):
        return ""
    return safe_name(name.replace("\\", "/").rpartition("/")[2]) if isinstance(name, str) else ""


def safe_name(name: str) -> str:
    """``name`` where a file may be called so and a terminal may show it; else ""."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or not name.isprintable():
        return ""
    return name if len(name.encode("utf-8", "surrogateescape")) <= NAME_LIMIT_BYTES else ""
