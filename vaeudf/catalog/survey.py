"""What there is at a path, and which kind of catalog that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from os.path import basename

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from vaeudf.catalog.kinds import FileKind, kinds_by_content, kinds_by_name
from vaeudf.catalog.listing import PATH, Looked, look, look_further
from vaeudf.errors import InputError
from vaeudf.storage.locations import filesystem

# Of the files without a suffix, so many are looked into to find out what they are.
_LOOKED_INTO = 1_000
_KINDS_NAMED = 5
_FEWEST_FOLDERS = 16


@dataclass(frozen=True)
class Survey:
    """The files that the driver has found at a path.

    Attributes:
        path: Where, as the user has named it.
        looked: The files.
    """

    path: str
    looked: Looked

    @property
    def is_complete(self) -> bool:
        """Whether there are no more files than these."""
        return not self.looked.folders

    @cached_property
    def kinds(self) -> list[FileKind]:
        """What each file is, by its suffix; one without, by its first bytes, for the first ones."""
        kinds = kinds_by_name(self.looked.files[PATH].combine_chunks())
        unnamed = list(islice((i for i, k in enumerate(kinds) if k == "unnamed"), _LOOKED_INTO))
        contents = kinds_by_content(self._names(unnamed))
        for row, kind in zip(unnamed, contents, strict=True):
            kinds[row] = kind if kind in ("image", "parquet") else "unnamed"
        return kinds

    def files(self, kind: FileKind) -> list[str]:
        """Return the files of a kind."""
        return self._names([i for i, found in enumerate(self.kinds) if found == kind])

    def passed_over(self) -> str:
        """Return how many files are there and what they are called, for a message."""
        names = self.looked.files[PATH].to_pylist()
        endings = Counter(_ending(name) for name in names)
        told = [f"{count:,} {ending}" for ending, count in endings.most_common(_KINDS_NAMED)]
        rest = len(endings) - len(told)
        told += [f"others of {rest} kinds"] if rest else []
        hidden = self.looked.hidden
        apart = (
            f"; {hidden:,} files or folders whose names begin with a dot or an underscore are "
            "passed over"
            if hidden
            else ""
        )
        return f"{len(names):,} files ({', '.join(told)}){apart}" if names else f"no files{apart}"

    def _names(self, rows: Sequence[int]) -> list[str]:
        names: list[str] = self.looked.files[PATH].take(pa.array(rows, pa.int64())).to_pylist()
        return names


def survey(spark: SparkSession, path: str, wanted: Collection[FileKind] = ()) -> Survey:
    """Look at what is at a path.

    Args:
        spark: The session.
        path: Where.
        wanted: If folders are left that have not been listed, more of them are, until there is a
            file of one of these kinds. Above the files of some catalogs are folders alone.

    Raises:
        InputError: The path does not exist, or a folder cannot be listed.
    """
    looked = look(spark, path)
    found = new = Survey(path, looked)
    count = _FEWEST_FOLDERS
    while wanted and not found.is_complete and not set(wanted) & set(new.kinds):
        more = look_further(found.looked.folders[:count])
        new = Survey(path, more)
        files = pa.concat_tables([found.looked.files, more.files]).combine_chunks()
        left = [*more.folders, *found.looked.folders[count:]]
        found = Survey(path, Looked(files, left, found.looked.hidden + more.hidden))
        count *= 2
    return found


_ARRAYS = (
    " Write the pictures as PNG files, or their PNG files' bytes to Parquet, in a column image "
    "beside item_id."
)
# What to do with other formats that datasets of pictures come in, by their suffixes.
_REMEDIES = {
    ".arrow": " Of a dataset that Hugging Face's save_to_disk wrote, make Parquet: "
    "load_from_disk(FOLDER).to_parquet('photos.parquet').",
    ".tfrecord": " Write the records' image bytes to Parquet, in a column image beside item_id.",
    ".mdb": " Write the values' image bytes to Parquet, in a column image beside item_id.",
    **dict.fromkeys((".npz", ".npy", ".h5", ".hdf5", ".mat"), _ARRAYS),
}


def check_not_empty(found: Survey, expected: str) -> None:
    """Raise InputError saying what is at a path where nothing can be encoded.

    Args:
        found: What is there.
        expected: What ought to be there, for the message.

    Raises:
        InputError: Always, unless there may be more than was looked at.
    """
    if not found.is_complete:
        return
    if found.files("archive"):
        raise InputError(about_archives(found, expected))
    names = found.looked.files[PATH].to_pylist()
    remedy = next((_REMEDIES[end] for end in map(_ending, names) if end in _REMEDIES), "")
    raise InputError(
        f"the catalog is empty: {found.path} has {found.passed_over()}; expected {expected}."
        f"{remedy}"
    )


def about_archives(found: Survey, expected: str) -> str:
    """Return what to do with a folder of archives, such as shards of WebDataset."""
    archives = found.files("archive")
    return (
        f"catalog {found.path} has its pictures in archives ({len(archives):,}, such as "
        f"{basename(archives[0])}), which are not read; expected {expected}. Unpack them, as with "
        '`mkdir photos; for f in *.tar; do tar -xf "$f" -C photos; done`, and name the folder '
        "photos; or let img2dataset write Parquet: --output_format parquet, and then "
        "--id-column key --image-column jpg."
    )


def may_hold_images(parquet: str, column: str) -> bool:
    """Whether a Parquet file has a column, or another one with bytes; True if it is unreadable.

    Args:
        parquet: The file.
        column: Where the images are expected; ``a.b`` is a field of a struct.
    """
    try:
        files, inner = filesystem(parquet)
        schema = pq.read_schema(inner, filesystem=files)
    except (OSError, pa.ArrowException, InputError):
        return True  # who reads it will say what is wrong
    named = {column, column.split(".")[0]} & set(schema.names)
    return bool(named) or any(_has_bytes(kind) for kind in schema.types)


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _ending(path: str) -> str:
    name = basename(path)
    ending = name[name.rindex(".") :] if "." in name else ""
    return ending.lower() if 0 < len(ending) <= 10 else "without a suffix"
