"""Encode an image catalog with a VAE on Spark; find the items with the highest log q(z|x).

Importing this package imports neither torch nor pyspark nor numba: each comes in with the first use
of what needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaeudf import errors, gaussian

if TYPE_CHECKING:
    from vaeudf.bundle import Bundle, load_bundle
    from vaeudf.clusters import cluster
    from vaeudf.decoding import decode
    from vaeudf.encoding import encode
    from vaeudf.export import ForeignModel, export_bundle
    from vaeudf.image_spec import ImageSpec
    from vaeudf.index import PosteriorIndex, nearest
    from vaeudf.query import top_k

__all__ = [
    "Bundle",
    "ForeignModel",
    "ImageSpec",
    "PosteriorIndex",
    "cluster",
    "decode",
    "encode",
    "errors",
    "export_bundle",
    "gaussian",
    "load_bundle",
    "nearest",
    "top_k",
]
__version__ = "0.1.0"

_LAZY = {
    "Bundle": "vaeudf.bundle",
    "load_bundle": "vaeudf.bundle",
    "cluster": "vaeudf.clusters",
    "decode": "vaeudf.decoding",
    "encode": "vaeudf.encoding",
    "ForeignModel": "vaeudf.export",
    "export_bundle": "vaeudf.export",
    "ImageSpec": "vaeudf.image_spec",
    "PosteriorIndex": "vaeudf.index",
    "nearest": "vaeudf.index",
    "top_k": "vaeudf.query",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vaeudf' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
