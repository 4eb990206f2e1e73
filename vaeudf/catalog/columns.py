"""The columns of Parquet files that may differ: united by name and type, or refused by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.types as is_

from vaeudf.catalog.files import CatalogFile
from vaeudf.catalog.names import find_column, named_by
from vaeudf.catalog.payload import LeftOut
from vaeudf.catalog.types import carried_type, has_nulls_only, same_text, widest
from vaeudf.errors import InputError
from vaeudf.table.snapshot import FileColumns

_PRUNE = "name with --payload-columns what is to be carried"
_Widen = Callable[[pa.DataType, pa.DataType], pa.DataType | None]


@dataclass(frozen=True)
class Column:
    """A column of a catalog, in all of its files.

    Attributes:
        name: Its name.
        kind: The type that holds the values of all files.
        stored: What each file calls it; None in a file that does not have it.
        values: Its value in each file, instead, if the folders or the table's log have it.
        inner: If it is a field of a struct: for each file, the fields' names below the stored one.
    """

    name: str
    kind: pa.DataType
    stored: tuple[str | None, ...]
    values: pa.Array | None = None
    inner: tuple[tuple[str, ...], ...] = ()


class CatalogColumns:
    """The columns of all files of a catalog."""

    def __init__(
        self,
        path: str,
        files: Sequence[CatalogFile],
        values: pa.Table | None = None,
        declared: FileColumns | None = None,
    ) -> None:
        """Match the files' columns by name, without regard to capitals where that is clear.

        Args:
            path: The catalog's, for messages.
            files: Its files, one at least.
            values: The columns that are in no file, with a row for each file.
            declared: What the log of a Delta table says of the columns.
        """
        self.path = path
        self.files = files
        self._values = values
        self._declared: dict[str, pa.DataType | None] = {}
        self._names: Mapping[str, str] | None = None if declared is None else declared.names
        if declared is None:
            self.stored = _matched(files)
        else:
            kinds = {f.name: f.type for f in declared.schema}
            self._declared = {name: carried_type(kind) for name, kind in kinds.items()}
            own = [(name, declared.names.get(name, name)) for name in kinds]
            self.stored = [
                {name: stored for name, stored in own if stored in file.columns} for file in files
            ]
        partitions = [] if values is None else values.column_names
        self.overlapping = {} if declared is not None else self._drop_stored(partitions)
        """Columns that the folders' names have and files as well, with one of these."""
        found = dict.fromkeys(name for stored in self.stored for name in stored)
        order = [*self._declared, *(name for name in found if name not in self._declared)]
        self.names: list[str] = [*order, *(name for name in partitions if name not in order)]

    def _drop_stored(self, partitions: Sequence[str]) -> dict[str, str]:
        """Forget what the files have under the names of the folders' columns, as Spark does."""
        names = {name.lower(): name for name in partitions}
        found: dict[str, str] = {}
        for file, stored in zip(self.files, self.stored, strict=True):
            for own in [own for own in stored if own.lower() in names]:
                found.setdefault(names[own.lower()], file.uri)
                del stored[own]
        return found

    def image_column(self, name: str) -> str:
        """Return what the files call the column with the images."""
        path = find_column(self.known, name)
        if path is None or not self.is_declared:
            return name
        return ".".join([self.stored_name(path[0]), *path[1:]])

    @property
    def known(self) -> dict[str, pa.DataType]:
        """The types that a table's log declares."""
        return {name: kind for name, kind in self._declared.items() if kind is not None}

    @property
    def is_declared(self) -> bool:
        """Whether a table's log says which columns there are."""
        return self._names is not None

    def stored_name(self, name: str) -> str:
        """Return what the files of a table call a column."""
        return name if self._names is None else self._names.get(name, name)

    def resolve(self, name: str) -> str:
        """Return the column that is meant by a name; there is one."""
        found = named_by(name, self.names)
        assert found is not None, "what is missing has been refused"
        return found

    def check_everywhere(self, what: str, there: Sequence[bool]) -> None:
        """Refuse what only some of the files have; the columns of a table may be added later.

        Args:
            what: Is called so in the message.
            there: Whether it is in each file.

        Raises:
            InputError: One lacks it.
        """
        if all(there) or self.is_declared:
            return
        lacking = self.files[there.index(False)].uri
        raise InputError(
            f"the {what} of catalog {self.path} is in {self.files[there.index(True)].uri} and "
            f"not in {lacking}; expected it in every file. Mend the file, or move it away."
        )

    def text(self, name: str, flag: str) -> Column:
        """Return a column whose values are taken as text.

        Args:
            name: Its name.
            flag: The option that names it, for messages.

        Raises:
            InputError: It is no text and becomes none, or is not in every file.
        """
        name = self.resolve(name)
        column = self.column(name, same_text, f"name another column with {flag}")
        if isinstance(column, LeftOut):
            raise InputError(
                f"column {name!r} of catalog {self.path} cannot be read: {column.why}. Convert "
                f"it, or name another column with {flag}."
            )
        if is_.is_nested(column.kind):
            raise InputError(
                f"column {name!r} of catalog {self.path} holds {column.kind}; expected text or "
                f"numbers. Convert it, or name another column with {flag}."
            )
        if column.values is None:
            self.check_everywhere(f"column {name!r}", [own is not None for own in column.stored])
        # Text that was written as bytes; what is not UTF-8 does not become text.
        return replace(column, kind=pa.string()) if is_.is_binary(column.kind) else column

    def column(self, name: str, widen: _Widen = widest, remedy: str = _PRUNE) -> Column | LeftOut:
        """Return a column in the type that holds the values of all files.

        Args:
            name: Its name.
            widen: Returns the type that holds the values of two, or None.
            remedy: What to do if there is none, for the message.

        Raises:
            InputError: There is none.
        """
        stored = tuple(own.get(name) for own in self.stored)
        if self._values is not None and name in self._values.column_names:
            values = self._values.column(name).combine_chunks()
            declared = self._declared.get(name)
            values = values if declared is None else values.cast(declared)
            if pa.types.is_null(values.type):
                return LeftOut(name, "it has no value in any folder's name")
            return Column(name, values.type, stored, values)
        if name in self._declared:
            kind = self._declared[name]
            if kind is None:
                return LeftOut(name, "the table's log has a type for it that Spark has not")
            return Column(name, kind, stored)
        kind, first = pa.null(), ""
        for file, own in zip(self.files, stored, strict=True):
            if own is None:
                continue
            column = file.columns[own]
            if column.carried is None:
                return LeftOut(
                    name, f"it is {column.kind} in {file.uri}, for which Delta has no type"
                )
            wider = column.carried if pa.types.is_null(kind) else widen(kind, column.carried)
            if wider is None:
                before = self._kind_in(name, first)
                raise InputError(
                    f"column {name!r} of catalog {self.path} is {before} in {first} and "
                    f"{column.kind} in {file.uri}; expected types of which one holds the values of "
                    f"the other. Write both files alike, or {remedy}."
                )
            if wider != kind:
                kind, first = wider, file.uri
        if has_nulls_only(kind):
            return LeftOut(name, "it has no value in any file")
        return Column(name, kind, stored)

    def kinds(self, name: str) -> Iterator[tuple[str, pa.DataType]]:
        """Yield the files that have a column, and its type in each."""
        for file, stored in zip(self.files, self.stored, strict=True):
            if name in stored:
                yield file.uri, file.columns[stored[name]].kind

    def _kind_in(self, name: str, uri: str) -> pa.DataType:
        return dict(self.kinds(name))[uri]


def _matched(files: Sequence[CatalogFile]) -> list[dict[str, str]]:
    """Return for each file what it calls the columns of the whole.

    Names that differ in capitals alone are one column, unless a file has two of them.
    """
    spellings: dict[str, Counter[str]] = {}
    several = set()
    for file in files:
        lower = Counter(name.lower() for name in file.columns)
        several |= {name for name, count in lower.items() if count > 1}
        for name in file.columns:
            spellings.setdefault(name.lower(), Counter())[name] += 1
    usual = {lower: max(counts, key=counts.__getitem__) for lower, counts in spellings.items()}
    return [
        {name if name.lower() in several else usual[name.lower()]: name for name in file.columns}
        for file in files
    ]
