"""What z's decode to, kept where tasks map it into memory.

Each z is decoded once. The arrays are of a bounded size, and of one of them a task holds only the
pages that it looks at: its memory does not depend on how many z there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.decoding.candidates import Means
from vaeudf.decoding.udf import decoder_of_task, decoder_on_executors
from vaeudf.errors import BundleError, raised_in_task
from vaeudf.model.bundle import Bundle
from vaeudf.model.decoder import PictureDecoder
from vaeudf.model.devices import Hardware, load_batch_decoder
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.model_worker import Model
from vaeudf.spark.tasks import numbered_tasks

# Each is collected by the driver, and sent to every executor.
_BYTES_PER_ARRAY = 128 * 2**20
# So few are decoded here in less time than a worker takes to load the decoder.
_FEW = 64
_TASKS_PER_CORE = 2
_POSITION, _LEVELS = "position", "levels"
_ROWS = pa.schema([(_POSITION, pa.int64()), (_LEVELS, pa.binary())])


def decode_means(
    spark: SparkSession,
    z: NDArray[np.float64],
    names: Sequence[str],
    bundle: Bundle,
    hardware: Hardware,
) -> Means:
    """Decode z's, and keep what they decode to for the tasks of a session.

    Args:
        spark: The session.
        z: Shape (Q, n).
        names: Their names, for messages.
        bundle: The model.
        hardware: What to decode on.

    Raises:
        BundleError: The model has no decoder, or it gives a NaN or an infinite level for a z.
    """
    spec = bundle.manifest.image
    size = spec.height * spec.width * spec.channels
    per_array = max(1, _BYTES_PER_ARRAY // (4 * size))
    cluster = Cluster.of(spark)
    arrays = []
    for levels in _groups(spark, z, names, bundle, hardware, per_array):
        arrays.append(cluster.share_array(levels))
    return Means(arrays, per_array)


def _groups(
    spark: SparkSession,
    z: NDArray[np.float64],
    names: Sequence[str],
    bundle: Bundle,
    hardware: Hardware,
    per_group: int,
) -> Iterator[NDArray[np.float32]]:
    """Yield what z's decode to, some at a time, each of shape (G, D)."""
    groups = [slice(first, first + per_group) for first in range(0, len(z), per_group)]
    if len(z) <= _FEW:
        decoder = load_batch_decoder(bundle.decoder_files, hardware, None, 0)
        for group in groups:
            yield _levels_of(decoder, z[group], names[group])
        return
    model = decoder_on_executors(spark.range(0), bundle, hardware)
    for group in groups:
        yield _decoded_in_tasks(spark, z[group], names[group], model, bundle)


def _decoded_in_tasks(
    spark: SparkSession, z: NDArray[np.float64], names: Sequence[str], model: Model, bundle: Bundle
) -> NDArray[np.float32]:
    cluster, size = Cluster.of(spark), bundle.manifest.image.batch_size
    num_tasks = max(1, min(_TASKS_PER_CORE * cluster.num_cores, -(-len(z) // size)))
    ends = [task * len(z) // num_tasks for task in range(num_tasks + 1)]
    shared = cluster.share((z, names))

    def decode(task: int) -> Iterator[pa.RecordBatch]:
        points, point_names = shared.value
        decoder = decoder_of_task(model)
        for first in range(ends[task], ends[task + 1], size):
            some = slice(first, min(first + size, ends[task + 1]))
            levels = _levels_of(decoder, points[some], point_names[some])
            columns = [
                pa.array(range(first, some.stop)),
                pa.array([row.tobytes() for row in levels], pa.binary()),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=_ROWS)

    try:
        rows = numbered_tasks(spark, num_tasks, decode, from_arrow_schema(_ROWS)).toArrow()
    except PySparkException as error:
        raise raised_in_task(error) or error from None
    finally:
        shared.free()
    levels = rows.sort_by(_POSITION)[_LEVELS]
    return np.stack([np.frombuffer(row.as_buffer(), np.float32) for row in levels])


def _levels_of(
    decoder: PictureDecoder, z: NDArray[np.float64], names: Sequence[str]
) -> NDArray[np.float32]:
    """Return what z's decode to, shape (B, D).

    Raises:
        BundleError: A level is not finite.
    """
    levels = decoder.decode_levels(z).reshape(len(z), -1)
    bad = np.flatnonzero(~np.isfinite(levels).all(axis=1))
    if len(bad):
        raise BundleError(
            f"the decoder gives a NaN or an infinite level for query {names[bad[0]]!r}, z = "
            f"{z[bad[0]].tolist()}; expected a picture. Ask with z nearer to the prior's mean 0."
        )
    return levels
