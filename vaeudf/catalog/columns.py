"""The columns of Parquet files that may differ: united by name and type, or refused by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.types as is_

from vaeudf.catalog.files import CatalogFile
from vaeudf.catalog.kind import CatalogSource
from vaeudf.catalog.names import find_column, named_by, type_at
from vaeudf.catalog.path_template import check_template_columns, path_template
from vaeudf.catalog.payload import LeftOut, carried
from vaeudf.catalog.types import carried_type, has_nulls_only, same_text, widest
from vaeudf.errors import InputError
from vaeudf.schema import check_payload_names
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


@dataclass(frozen=True)
class Chosen:
    """What is read of a catalog's rows.

    Attributes:
        item_id: The column with the ids.
        version: The one that changes when the image does; None if there is none.
        payload: Those that are carried along.
        left_out: Those that would be, if that were possible.
        path: Where the images are files, and not in the rows: the columns that their paths are
            made of.
        path_texts: What stands before, between and behind these in a path.
    """

    item_id: Column
    version: Column | None
    payload: list[Column]
    left_out: list[LeftOut] = field(default_factory=list)
    path: tuple[Column, ...] = ()
    path_texts: tuple[str, ...] = ()

    @property
    def columns(self) -> list[Column]:
        """All of them."""
        version = [] if self.version is None else [self.version]
        return [self.item_id, *version, *self.path, *self.payload]


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
        self._path = path
        self._files = files
        self._values = values
        self._declared: dict[str, pa.DataType | None] = {}
        self._names: Mapping[str, str] | None = None if declared is None else declared.names
        if declared is None:
            self._stored = _matched(files)
        else:
            kinds = {f.name: f.type for f in declared.schema}
            self._declared = {name: carried_type(kind) for name, kind in kinds.items()}
            own = [(name, declared.names.get(name, name)) for name in kinds]
            self._stored = [
                {name: stored for name, stored in own if stored in file.columns} for file in files
            ]
        partitions = [] if values is None else values.column_names
        self.overlapping = {} if declared is not None else self._drop_stored(partitions)
        """Columns that the folders' names have and files as well, with one of these."""
        found = dict.fromkeys(name for stored in self._stored for name in stored)
        order = [*self._declared, *(name for name in found if name not in self._declared)]
        self.names: list[str] = [*order, *(name for name in partitions if name not in order)]

    def _drop_stored(self, partitions: Sequence[str]) -> dict[str, str]:
        """Forget what the files have under the names of the folders' columns, as Spark does."""
        names = {name.lower(): name for name in partitions}
        found: dict[str, str] = {}
        for file, stored in zip(self._files, self._stored, strict=True):
            for own in [own for own in stored if own.lower() in names]:
                found.setdefault(names[own.lower()], file.uri)
                del stored[own]
        return found

    def choose(self, source: CatalogSource) -> Chosen:
        """Return the columns that a catalog's options name, once all is known to fit.

        Raises:
            InputError: One is missing, or of a wrong type, or its types in two files do not agree.
        """
        image = self.image_column(source.image_column)
        self._check_names(source, image)
        path, texts = self._path_columns(source.path_column)
        own = set() if path else self._check_images(source.image_column, image)
        if len(texts) == 2 and not any(texts):  # not a template's, which may be payload as well
            own = {name for column in path for name in self._roots(column)}
        item_id = self._text(source.id_column, "--id-column")
        version = None
        if source.version_column:
            version = self._text(source.version_column, "--version-column")
        if source.payload_columns is None:
            own |= {item_id.name, *([] if version is None else [version.name])}
            chosen = self._all_but(own, item_id, version)
            return replace(chosen, path=path, path_texts=texts)
        names = [self._resolve(name) for name in source.payload_columns]
        check_payload_names(names)
        payload = []
        for name in names:
            column = self._column(name)
            if isinstance(column, LeftOut):
                raise InputError(
                    f"payload column {name!r} of catalog {self._path} cannot be carried: "
                    f"{column.why}. Convert it, or leave it out of --payload-columns."
                )
            payload.append(column)
        return Chosen(item_id, version, payload, path=path, path_texts=texts)

    def image_column(self, name: str) -> str:
        """Return what the files call the column with the images."""
        path = find_column(self._known, name)
        if path is None or self._names is None:
            return name
        return ".".join([self._names.get(path[0], path[0]), *path[1:]])

    @property
    def _known(self) -> dict[str, pa.DataType]:
        """The types that a table's log declares."""
        return {name: kind for name, kind in self._declared.items() if kind is not None}

    def _has_images(self, name: str, image: str) -> bool:
        if self._names is not None:
            return find_column(self._known, name) is not None
        return any(find_column(file.kinds, image) for file in self._files)

    def _resolve(self, name: str) -> str:
        found = named_by(name, self.names)
        assert found is not None, "what is missing has been refused"
        return found

    def _check_names(self, source: CatalogSource, image: str) -> None:
        wanted = [source.id_column]
        if source.path_column is not None:
            wanted += self._check_path_names(source.path_column)
        elif not self._has_images(source.image_column, image):
            wanted.append(source.image_column.split(".")[0])
        wanted += [source.version_column] if source.version_column else []
        wanted += list(source.payload_columns or [])
        missing = [name for name in wanted if named_by(name, self.names) is None]
        if missing:
            raise InputError(
                f"catalog {self._path} has no column {', '.join(map(repr, missing))}; "
                f"it has {', '.join(self.names)}. "
                f"Name them with --id-column, --{'image' if source.path_column is None else 'path'}"
                "-column and --payload-columns."
            )

    def _check_path_names(self, name: str) -> list[str]:
        """Return the column that has the paths, for one more check, if that is a whole column."""
        template = path_template(name)
        if named_by(name, self.names) or template is None:
            return [] if self._path_field(name) else [name]
        missing = [one for one in template.columns if named_by(one, self.names) is None]
        check_template_columns(f"catalog {self._path}", name, missing, self.names)
        return []

    def _path_columns(self, name: str | None) -> tuple[tuple[Column, ...], tuple[str, ...]]:
        """Return the columns that the paths of image files are made of, and the texts around."""
        if name is None:
            return (), ()
        template = path_template(name)
        if named_by(name, self.names) or template is None:
            return (self._path_field(name) or self._path_column(name),), ("", "")
        columns = tuple(self._text(one, "--path-column") for one in template.columns)
        return columns, template.texts

    def _path_column(self, name: str) -> Column:
        """Return the column with the paths of image files."""
        name = self._resolve(name)
        column = self._column(name, widest, "name another column with --path-column")
        if isinstance(column, LeftOut) or not pa.types.is_string(column.kind):
            kinds = [kind for _, kind in self._kinds(name)]
            raise self._no_path(name, kinds[0] if kinds else None)
        return column

    def _path_field(self, name: str) -> Column | None:
        """Return the field of a struct with the paths; None if there is no such field."""
        if named_by(name, self.names):
            return None
        if self._names is not None:
            path = find_column(self._known, name)
            if path is None:
                return None
            root = self._names.get(path[0], path[0])
            full = (root, *path[1:])
            paths = [full if root in file.columns else None for file in self._files]
            kinds = [type_at(self._known, path)]
        else:
            paths = [find_column(file.kinds, name) for file in self._files]
            pairs = zip(self._files, paths, strict=True)
            kinds = [type_at(file.kinds, one) for file, one in pairs if one is not None]
            if not kinds:
                return None
            self._check_everywhere(f"path column {name!r}", [one is not None for one in paths])
        wrong = [kind for kind in kinds if carried_type(kind) != pa.string()]
        if wrong:
            raise self._no_path(name, wrong[0])
        stored = tuple(None if one is None else one[0] for one in paths)
        inner = tuple(() if one is None else one[1:] for one in paths)
        return Column(name, pa.string(), stored, inner=inner)

    def _no_path(self, name: str, kind: pa.DataType | None) -> InputError:
        fields = kind if kind is not None and is_.is_struct(kind) else ()
        inner = [one.name for one in fields if carried_type(one.type) == pa.string()]
        hint = f" Its field is: --path-column {name}.{inner[0]}." if inner else ""
        return InputError(
            f"column {name!r} of catalog {self._path} holds {kind or 'nothing'}; expected text: "
            f"the paths or URIs of image files.{hint} For images in the rows, use --image-column."
        )

    def _roots(self, column: Column) -> set[str]:
        """Return the catalog's own names of what is, or holds, a column."""
        return {column.name} | {
            own
            for stored, root in zip(self._stored, column.stored, strict=True)
            for own, inside in stored.items()
            if inside == root and column.inner
        }

    def _check_images(self, name: str, image: str) -> set[str]:
        """Return the columns that the images are in, once every file is known to have them."""
        places = [(f" in {file.uri}", file.kinds, image) for file in self._files]
        if self._names is not None:
            # The log says what there is; in a file of before a column was added it is null.
            places = [("", self._known, name)]
        paths = [find_column(kinds, column) for _, kinds, column in places]
        if not any(paths):
            root = self._resolve(name.split(".")[0])
            [kind, *_] = [kinds[root] for _, kinds, _ in places if root in kinds]
            raise InputError(
                f"catalog {self._path} has no field {name!r} in its column {root} of type {kind}."
            )
        self._check_everywhere(f"image column {name!r}", [path is not None for path in paths])
        for (where, kinds, _), path in zip(places, paths, strict=True):
            assert path is not None
            kind = type_at(kinds, path)
            if carried_type(kind) != pa.binary():
                fields = kind if pa.types.is_struct(kind) else ()
                inner = [f.name for f in fields if carried_type(f.type) == pa.binary()]
                hint = f" Its field is: --image-column {name}.{inner[0]}." if inner else ""
                if carried_type(kind) == pa.string():
                    hint = f" If it holds paths of image files: --path-column {name}."
                raise InputError(
                    f"column {name!r} of catalog {self._path} holds {kind}{where}; "
                    f"expected binary: the bytes of an image file.{hint}"
                )
        roots = {path[0] for path in paths if path is not None}
        if self._names is not None:
            return roots
        return {own for stored in self._stored for own, inside in stored.items() if inside in roots}

    def _check_everywhere(self, what: str, there: Sequence[bool]) -> None:
        if all(there) or self._names is not None:
            return
        lacking = self._files[there.index(False)].uri
        raise InputError(
            f"the {what} of catalog {self._path} is in {self._files[there.index(True)].uri} and "
            f"not in {lacking}; expected it in every file. Mend the file, or move it away."
        )

    def _text(self, name: str, flag: str) -> Column:
        """Return a column whose values are taken as text."""
        name = self._resolve(name)
        column = self._column(name, same_text, f"name another column with {flag}")
        if isinstance(column, LeftOut):
            raise InputError(
                f"column {name!r} of catalog {self._path} cannot be read: {column.why}. Convert "
                f"it, or name another column with {flag}."
            )
        if is_.is_nested(column.kind):
            raise InputError(
                f"column {name!r} of catalog {self._path} holds {column.kind}; expected text or "
                f"numbers. Convert it, or name another column with {flag}."
            )
        if column.values is None:
            self._check_everywhere(f"column {name!r}", [own is not None for own in column.stored])
        # Text that was written as bytes; what is not UTF-8 does not become text.
        return replace(column, kind=pa.string()) if is_.is_binary(column.kind) else column

    def _all_but(self, own: set[str], item_id: Column, version: Column | None) -> Chosen:
        """Return what is carried of all other columns."""
        names = [name for name in self.names if name not in own]
        payload, left_out = carried(names, self._column)
        twice = [(name, file) for file in self._files for name in sorted(file.repeated)]
        for name, file in {name: file for name, file in reversed(twice)}.items():
            left_out.append(LeftOut(name, f"{file.uri} has it twice"))
        return Chosen(item_id, version, payload, left_out)

    def _column(self, name: str, widen: _Widen = widest, remedy: str = _PRUNE) -> Column | LeftOut:
        """Return a column in the type that holds the values of all files."""
        stored = tuple(own.get(name) for own in self._stored)
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
        for file, own in zip(self._files, stored, strict=True):
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
                    f"column {name!r} of catalog {self._path} is {before} in {first} and "
                    f"{column.kind} in {file.uri}; expected types of which one holds the values of "
                    f"the other. Write both files alike, or {remedy}."
                )
            if wider != kind:
                kind, first = wider, file.uri
        if has_nulls_only(kind):
            return LeftOut(name, "it has no value in any file")
        return Column(name, kind, stored)

    def _kinds(self, name: str) -> Iterator[tuple[str, pa.DataType]]:
        for file, stored in zip(self._files, self._stored, strict=True):
            if name in stored:
                yield file.uri, file.columns[stored[name]].kind

    def _kind_in(self, name: str, uri: str) -> pa.DataType:
        return dict(self._kinds(name))[uri]


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
