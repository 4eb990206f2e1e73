"""What is read of a catalog's rows: the columns that its options name, once all is known to fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from vaeudf.catalog.catalog_source import CatalogSource
from vaeudf.catalog.columns import CatalogColumns, Column
from vaeudf.catalog.names import find_column, named_by, type_at
from vaeudf.catalog.path_columns import check_path_names, holders, path_columns
from vaeudf.catalog.payload import LeftOut, carried
from vaeudf.catalog.types import carried_type
from vaeudf.errors import InputError
from vaeudf.schema import check_payload_names


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


def choose(columns: CatalogColumns, source: CatalogSource) -> Chosen:
    """Return the columns that a catalog's options name, once all is known to fit.

    Raises:
        InputError: One is missing, or of a wrong type, or its types in two files do not agree.
    """
    image = columns.image_column(source.image_column)
    _check_names(columns, source, image)
    path, texts = path_columns(columns, source.path_column)
    own = set() if path else _check_images(columns, source.image_column, image)
    if len(texts) == 2 and not any(texts):  # not a template's, which may be payload as well
        own = {name for column in path for name in holders(columns, column)}
    item_id = columns.text(source.id_column, "--id-column")
    version = None
    if source.version_column:
        version = columns.text(source.version_column, "--version-column")
    if source.payload_columns is None:
        own |= {item_id.name, *([] if version is None else [version.name])}
        chosen = _all_but(columns, own, item_id, version)
        return replace(chosen, path=path, path_texts=texts)
    names = [columns.resolve(name) for name in source.payload_columns]
    check_payload_names(names)
    payload = []
    for name in names:
        column = columns.column(name)
        if isinstance(column, LeftOut):
            raise InputError(
                f"payload column {name!r} of catalog {columns.path} cannot be carried: "
                f"{column.why}. Convert it, or leave it out of --payload-columns."
            )
        payload.append(column)
    return Chosen(item_id, version, payload, path=path, path_texts=texts)


def _check_names(columns: CatalogColumns, source: CatalogSource, image: str) -> None:
    wanted = [source.id_column]
    if source.path_column is not None:
        wanted += check_path_names(columns, source.path_column)
    elif not _has_images(columns, source.image_column, image):
        wanted.append(source.image_column.split(".")[0])
    wanted += [source.version_column] if source.version_column else []
    wanted += list(source.payload_columns or [])
    missing = [name for name in wanted if named_by(name, columns.names) is None]
    if missing:
        raise InputError(
            f"catalog {columns.path} has no column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(columns.names)}. "
            f"Name them with --id-column, --{'image' if source.path_column is None else 'path'}"
            "-column and --payload-columns."
        )


def _has_images(columns: CatalogColumns, name: str, image: str) -> bool:
    if columns.is_declared:
        return find_column(columns.known, name) is not None
    return any(find_column(file.kinds, image) for file in columns.files)


def _check_images(columns: CatalogColumns, name: str, image: str) -> set[str]:
    """Return the columns that the images are in, once every file is known to have them."""
    places = [(f" in {file.uri}", file.kinds, image) for file in columns.files]
    if columns.is_declared:
        # The log says what there is; in a file of before a column was added it is null.
        places = [("", columns.known, name)]
    paths = [find_column(kinds, column) for _, kinds, column in places]
    if not any(paths):
        root = columns.resolve(name.split(".")[0])
        [kind, *_] = [kinds[root] for _, kinds, _ in places if root in kinds]
        raise InputError(
            f"catalog {columns.path} has no field {name!r} in its column {root} of type {kind}."
        )
    first = next(path for path in paths if path is not None)
    # Of a column without any value, some writers do not know the type: its items have no image.
    void = [
        _is_void(kinds, path or first[:1])
        for (_, kinds, _), path in zip(places, paths, strict=True)
    ]
    columns.check_everywhere(
        f"image column {name!r}",
        [path is not None or none for path, none in zip(paths, void, strict=True)],
    )
    for (where, kinds, _), path, none in zip(places, paths, void, strict=True):
        if none and not all(void):
            continue
        assert path is not None
        kind = type_at(kinds, path)
        if carried_type(kind) != pa.binary():
            fields = kind if pa.types.is_struct(kind) else ()
            inner = [f.name for f in fields if carried_type(f.type) == pa.binary()]
            hint = f" Its field is: --image-column {name}.{inner[0]}." if inner else ""
            if carried_type(kind) == pa.string():
                hint = f" If it holds paths of image files: --path-column {name}."
            raise InputError(
                f"column {name!r} of catalog {columns.path} holds {kind}{where}; "
                f"expected binary: the bytes of an image file.{hint}"
            )
    roots = {path[0] for path in paths if path is not None}
    if columns.is_declared:
        return roots
    return {own for stored in columns.stored for own, inside in stored.items() if inside in roots}


def _is_void(kinds: Mapping[str, pa.DataType], path: tuple[str, ...]) -> bool:
    """Whether a file has a column, and no value in it."""
    return path[0] in kinds and pa.types.is_null(type_at(kinds, path))


def _all_but(
    columns: CatalogColumns, own: set[str], item_id: Column, version: Column | None
) -> Chosen:
    """Return what is carried of all other columns."""
    names = [name for name in columns.names if name not in own]
    payload, left_out = carried(names, columns.column)
    twice = [(name, file) for file in columns.files for name in sorted(file.repeated)]
    for name, file in {name: file for name, file in reversed(twice)}.items():
        left_out.append(LeftOut(name, f"{file.uri} has it twice"))
    return Chosen(item_id, version, payload, left_out)
