"""Deletes rows of a Delta table by deletion vectors, as other engines do.

The formats are those of the Delta protocol ("Deletion Vector Format") and of the portable
serialisation of 64-bit Roaring bitmaps.
"""

from __future__ import annotations

import base64
import json
import struct
import uuid
import zlib
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq

_MAGIC = 1681511377
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def bitmap(rows: np.ndarray) -> bytes:
    """Serialise row numbers below 2³², at most 4,096 of them in each 65,536 rows."""
    keys, starts = np.unique(rows >> 16, return_index=True)
    containers = [part.astype("<u2").tobytes() for part in np.split(rows & 0xFFFF, starts[1:])]
    header = struct.pack("<II", 12346, len(keys))
    for key, container in zip(keys.tolist(), containers, strict=True):
        header += struct.pack("<HH", key, len(container) // 2 - 1)
    first = len(header) + 4 * len(keys)
    offsets = np.cumsum([first, *map(len, containers)])[:-1].astype("<u4").tobytes()
    return struct.pack("<QI", 1, 0) + header + offsets + b"".join(containers)


def write_vector(uri: str, rows: np.ndarray) -> dict:
    """Write a vector's file to a table; return what the log says of it."""
    data = struct.pack("<I", _MAGIC) + bitmap(np.sort(rows))
    name = uuid.uuid4()
    body = b"\x01" + struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    Path(uri, f"deletion_vector_{name}.bin").write_bytes(body)
    encoded = base64.b85encode(name.bytes).translate(bytes.maketrans(_B85, _Z85)).decode()
    return {
        "storageType": "u",
        "pathOrInlineDv": encoded,
        "offset": 1,
        "sizeInBytes": len(data),
        "cardinality": len(rows),
    }


def commits(uri: str) -> list[tuple[int, list[dict]]]:
    return [
        (int(path.stem), [json.loads(line) for line in path.read_text().splitlines()])
        for path in sorted(Path(uri, "_delta_log").glob("*.json"))
    ]


def commit(uri: str, actions: list[dict]) -> None:
    """Write a table's next commit, as another engine does."""
    number = commits(uri)[-1][0] + 1
    path = Path(uri, "_delta_log", f"{number:020}.json")
    path.write_text("".join(json.dumps(action) + "\n" for action in actions))


def delete_items(uri: str, item_ids: Collection[str], id_column: str = "item_id") -> None:
    """Delete rows of a table's latest version by vectors, switching the feature on."""
    live: dict[str, dict] = {}
    protocol: dict = {}
    for _, actions in commits(uri):
        for action in actions:
            protocol = action.get("protocol", protocol)
            if "remove" in action:
                live.pop(action["remove"]["path"], None)
        live |= {a["add"]["path"]: a["add"] for a in actions if "add" in a}
    features = {*protocol.get("writerFeatures", ()), "deletionVectors"}
    reader = {*protocol.get("readerFeatures", ()), "deletionVectors"}
    actions = [
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": sorted(reader),
                "writerFeatures": sorted(features),
            }
        },
        {"commitInfo": {"timestamp": 1_790_000_000_000, "operation": "DELETE"}},
    ]
    for path, add in live.items():
        ids = pq.read_table(Path(uri, unquote(path)), columns=[id_column], partitioning=None)
        rows = np.flatnonzero(np.isin(ids[id_column].to_numpy(), list(item_ids)))
        if len(rows) == 0:
            continue
        removed = {name: add[name] for name in ("path", "partitionValues", "size")}
        removed |= {"deletionTimestamp": 1_790_000_000_000, "dataChange": True}
        removed["extendedFileMetadata"] = True
        actions.append({"remove": removed})
        actions.append({"add": add | {"deletionVector": write_vector(uri, rows)}})
    commit(uri, actions)
