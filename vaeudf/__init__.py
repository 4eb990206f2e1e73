"""Encode an image catalog with a VAE on Spark; find the items with the highest log q(z|x).

Importing this package imports neither torch nor pyspark nor numba: each comes in with the first use
of what needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaeudf import errors, gaussian
from vaeudf.version import VERSION

if TYPE_CHECKING:
    from vaeudf.clustering.api import cluster
    from vaeudf.decoding.rerank import rerank
    from vaeudf.decoding.udf import decode
    from vaeudf.encoding.udf import encode
    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.bundle import Bundle, load_bundle
    from vaeudf.model.export.api import export_bundle
    from vaeudf.model.export.foreign_model import ForeignModel
    from vaeudf.model.export.origin import OnnxFiles
    from vaeudf.model.likelihood import BernoulliPixels, GaussianPixels
    from vaeudf.query.all_above import all_above
    from vaeudf.query.bulk import top_k
    from vaeudf.query.shares import shares
    from vaeudf.search.index import PosteriorIndex
    from vaeudf.search.once import nearest
    from vaeudf.workflows.notebook import show

__all__ = [
    "BernoulliPixels",
    "Bundle",
    "ForeignModel",
    "GaussianPixels",
    "ImageSpec",
    "OnnxFiles",
    "PosteriorIndex",
    "all_above",
    "cluster",
    "decode",
    "encode",
    "errors",
    "export_bundle",
    "gaussian",
    "load_bundle",
    "nearest",
    "rerank",
    "shares",
    "show",
    "top_k",
]
__version__ = VERSION

_LAZY = {
    "Bundle": "vaeudf.model.bundle",
    "load_bundle": "vaeudf.model.bundle",
    "cluster": "vaeudf.clustering.api",
    "decode": "vaeudf.decoding.udf",
    "encode": "vaeudf.encoding.udf",
    "ForeignModel": "vaeudf.model.export.foreign_model",
    "export_bundle": "vaeudf.model.export.api",
    "ImageSpec": "vaeudf.images.spec",
    "OnnxFiles": "vaeudf.model.export.origin",
    "BernoulliPixels": "vaeudf.model.likelihood",
    "GaussianPixels": "vaeudf.model.likelihood",
    "PosteriorIndex": "vaeudf.search.index",
    "nearest": "vaeudf.search.once",
    "top_k": "vaeudf.query.bulk",
    "all_above": "vaeudf.query.all_above",
    "shares": "vaeudf.query.shares",
    "rerank": "vaeudf.decoding.rerank",
    "show": "vaeudf.workflows.notebook",
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
