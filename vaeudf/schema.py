"""The columns of the posterior table and of what goes in and out around it."""

from __future__ import annotations

import json

import pyarrow as pa

from vaeudf.errors import InputError

ITEM_ID = "item_id"
IMAGE = "image"
IMAGE_FILE = "image_file"
IMAGE_ROW = "image_row"
IMAGE_LENGTH = "image_length"
IMAGE_MODIFIED = "image_modified"
PLACE = (IMAGE_FILE, IMAGE_ROW, IMAGE_LENGTH, IMAGE_MODIFIED)
"""Where an item's image is; see :func:`vaeudf.catalog.source.list_items`."""
PIXEL_FILE = "__vaeudf_pixel_file"
PIXEL_ROW = "__vaeudf_pixel_row"
PIXEL_PLACE = (PIXEL_FILE, PIXEL_ROW)
"""Where an encoded item's pixels are until the next version has them; no columns of the table."""
SOURCE_VERSION = "source_version"
HASH_DIGITS = 16
"""Hexadecimal digits of an image's SHA-256 that are its source_version, where it is a hash."""
MU = "mu"
LOG_VAR = "log_var"
REASON = "reason"
MESSAGE = "message"

QUERY_ID = "query_id"
RANK = "rank"
HIDDEN = "hidden"
"""How many items a hit has hidden that are too near to it."""
LOG_LIKELIHOOD = "log_likelihood"
MISFIT = "misfit"
VOLUME = "volume"
COSTLIEST = "costliest"
RESPONSIBILITY = "responsibility"
LOG_AGGREGATE_POSTERIOR = "log_aggregate_posterior"
LOG_AGGREGATE_POSTERIOR_ERROR = "log_aggregate_posterior_error"
SHARE = "share"
SHARE_ERROR = "share_error"
LOG_P_X_GIVEN_Z = "log_p_x_given_z"
"""How likely the decoder takes an item's own picture to be, given z, in nats."""
PICTURE_ERROR = "picture_error"
"""The mean squared difference of an item's picture from what z decodes to, levels in [0, 1]."""
CANDIDATE_RANK = "candidate_rank"
"""The rank that a hit had before it was ranked again."""


Z = "z"
"""A point of latent space."""
FILE = "file"
SQUARED_ERROR = "squared_error"
CHANGED = "changed"
ORIGINAL = "original"
RECONSTRUCTION = "reconstruction"


def quoted(name: str) -> str:
    """Return a column's name as Spark's expressions take it literally."""
    return "`" + name.replace("`", "``") + "`"


MODEL_ID_KEY = "vaeudf.model_id"
MODEL_PATH_KEY = "vaeudf.model_path"
CATALOG_KEY = "vaeudf.catalog"
RUN_ID_KEY = "vaeudf.run_id"
PRECISION_KEY = "vaeudf.precision"
"""What the encoder computed with; tables of before it was a choice have none: float32."""

PIXELS_KEY = "vaeudf.pixels"
"""The shape of the pictures that a version keeps beside its rows, as JSON; others have none."""

PAYLOAD_KEY = "vaeudf.payload_columns"
"""Which columns encode_catalog has carried over from the catalog: a list, as JSON."""

RESERVED = (
    *(ITEM_ID, SOURCE_VERSION, MU, LOG_VAR, REASON, MESSAGE),
    *(IMAGE, *PLACE),
)
"""Names that a payload column cannot have, compared without case, as Delta does."""

_OWN_PREFIX = "__vaeudf_"


def posterior_schema(payload: pa.Schema, provenance: dict[str, str]) -> pa.Schema:
    """Return the Arrow schema of a posterior table.

    Args:
        payload: The catalog's own columns, carried through.
        provenance: Kept with the field ``mu``, because in a Delta table the schema, unlike the
            table properties, is replaced in the same commit as the files it belongs to.
    """
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False))
    own = {PAYLOAD_KEY: json.dumps(payload.names)}
    return pa.schema(
        [
            pa.field(ITEM_ID, pa.string(), nullable=False),
            pa.field(MU, vector, nullable=False, metadata=provenance | own),
            pa.field(LOG_VAR, vector, nullable=False),
            pa.field(SOURCE_VERSION, pa.string(), nullable=False),
            *(pa.field(f.name, f.type) for f in payload),
        ]
    )


def why_reserved(name: str) -> str | None:
    """Return why no payload column can have a name; None if one can."""
    if name.lower().startswith(_OWN_PREFIX):
        return f"names that begin with {_OWN_PREFIX!r} are vaeudf's own"
    own = {reserved.lower(): reserved for reserved in RESERVED}.get(name.lower())
    return own and f"the table has a column {own!r} of its own"


def check_payload_names(names: list[str]) -> None:
    """Raise InputError if payload columns clash with the table's own or with each other."""
    taken: dict[str, str] = {}
    for name in names:
        why = why_reserved(name)
        if why is None and name.lower() in taken:
            why = f"{taken[name.lower()]!r} is one already"
        if why is not None:
            raise InputError(
                f"payload column {name!r} cannot be carried, for {why}; rename it in the catalog, "
                "or leave it out with --payload-columns."
            )
        taken[name.lower()] = name
