"""What Hadoop's files of configuration say, as hdfs-native and delta-rs read them."""

from __future__ import annotations

import os
import posixpath
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

SCHEMES = ("hdfs", "viewfs")
"""Of URIs that hdfs-native opens."""

# The later ones win.
_FILES = ("core-site.xml", "hdfs-site.xml")


def hadoop_settings() -> dict[str, str]:
    """Return the settings by their names; none where there is no configuration.

    A file that cannot be read counts as none here: the client that opens it says what is wrong.
    """
    folder = configuration_folder()
    if folder is None:
        return {}
    found: dict[str, str] = {}
    for name in _FILES:
        path = folder / name
        try:
            status = path.stat()
        except OSError:
            continue
        found |= _read(str(path), status.st_mtime_ns, status.st_size)
    return found


def configuration_folder() -> Path | None:
    """Return the folder of the configuration, if the environment names one."""
    if os.environ.get("HADOOP_CONF_DIR"):
        return Path(os.environ["HADOOP_CONF_DIR"])
    if os.environ.get("HADOOP_HOME"):
        return Path(os.environ["HADOOP_HOME"], "etc", "hadoop")
    return None


@lru_cache(maxsize=8)
def _read(path: str, modified: int, size: int) -> dict[str, str]:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return {}
    named = (
        (one.findtext("name", "").strip(), one.findtext("value", "").strip())
        for one in root.iter("property")
    )
    return {name: value for name, value in named if name}


def without_names(authority: str, inner: str, scheme: str = "hdfs") -> tuple[str, str]:
    """Return where a path of HDFS really is, as far as the configuration says it.

    The default file system, the names of name services and the folders that ``viewfs://`` mounts
    are names for places that have others.

    Args:
        authority: What follows the two slashes of the URI, up to the next; may be empty.
        inner: The path there, from the root, without dots.
        scheme: ``hdfs`` or ``viewfs``.

    Returns:
        The store, and the path there.
    """
    settings = hadoop_settings()
    # The default file system, and what is mounted, are in the words of the configuration again.
    for _ in range(4):
        if not authority:
            default = settings.get("fs.defaultFS", "")
            default_scheme, _, rest = default.partition("://")
            if default_scheme.lower() not in SCHEMES or not rest.strip("/"):
                break
            scheme, authority = default_scheme.lower(), rest.partition("/")[0]
        elif scheme == "viewfs":
            mounted = _mounted(settings, authority, inner)
            if mounted is None:
                break
            scheme, authority, inner = mounted
        else:
            break
    authority = authority.lower()
    if scheme == "hdfs":
        authority = _services(settings).get(authority, authority)
    return f"{scheme}://{authority}", inner


def _mounted(settings: dict[str, str], table: str, inner: str) -> tuple[str, str, str] | None:
    """Return scheme, authority and path of what a mount table has at a path."""
    prefix = f"fs.viewfs.mounttable.{table}."
    links = {
        key.removeprefix(f"{prefix}link."): value
        for key, value in settings.items()
        if key.startswith(f"{prefix}link.")
    }
    above = [link for link in links if inner == link or inner.startswith(f"{link.rstrip('/')}/")]
    link = max(above, key=len, default=None)
    target = settings.get(f"{prefix}linkFallback") if link is None else links[link]
    if target is None or "://" not in target:
        return None
    scheme, _, rest = target.partition("://")
    authority, _, folder = rest.partition("/")
    below = inner[len(link or "") :]
    return scheme.lower(), authority, posixpath.join("/", folder.strip("/"), below.strip("/"))


def _services(settings: dict[str, str]) -> dict[str, str]:
    """Return the name services by the addresses of their name nodes."""
    prefix = "dfs.namenode.rpc-address."
    found = {}
    for key, address in settings.items():
        service, _, node = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and node:
            found[address.lower()] = service.lower()
    return found
