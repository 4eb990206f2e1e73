"""The columns that paths of image files are made of, in the rows of Parquet or a Delta table."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as is_

from vaeudf.catalog.columns import CatalogColumns, Column
from vaeudf.catalog.names import find_column, named_by, type_at
from vaeudf.catalog.path_template import check_template_columns, path_template
from vaeudf.catalog.payload import LeftOut
from vaeudf.catalog.types import carried_type, widest
from vaeudf.errors import InputError


def check_path_names(columns: CatalogColumns, name: str) -> list[str]:
    """Return the column that has the paths, for one more check, if that is a whole column.

    Raises:
        InputError: A template names a column that is not there, or a field holds no text.
    """
    template = path_template(name)
    if named_by(name, columns.names) or template is None:
        return [] if _path_field(columns, name) else [name]
    missing = [one for one in template.columns if named_by(one, columns.names) is None]
    check_template_columns(f"catalog {columns.path}", name, missing, columns.names)
    return []


def path_columns(
    columns: CatalogColumns, name: str | None
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """Return the columns that the paths of image files are made of, and the texts around.

    Raises:
        InputError: They hold no text, or are not in every file.
    """
    if name is None:
        return (), ()
    template = path_template(name)
    if named_by(name, columns.names) or template is None:
        return (_path_field(columns, name) or _path_column(columns, name),), ("", "")
    found = tuple(columns.text(one, "--path-column") for one in template.columns)
    return found, template.texts


def _path_column(columns: CatalogColumns, name: str) -> Column:
    """Return the column with the paths of image files."""
    name = columns.resolve(name)
    column = columns.column(name, widest, "name another column with --path-column")
    if isinstance(column, LeftOut) or not pa.types.is_string(column.kind):
        kinds = [kind for _, kind in columns.kinds(name)]
        raise _no_path(columns, name, kinds[0] if kinds else None)
    return column


def _path_field(columns: CatalogColumns, name: str) -> Column | None:
    """Return the field of a struct with the paths; None if there is no such field."""
    if named_by(name, columns.names):
        return None
    if columns.is_declared:
        path = find_column(columns.known, name)
        if path is None:
            return None
        root = columns.stored_name(path[0])
        full = (root, *path[1:])
        paths = [full if root in file.columns else None for file in columns.files]
        kinds = [type_at(columns.known, path)]
    else:
        paths = [find_column(file.kinds, name) for file in columns.files]
        pairs = zip(columns.files, paths, strict=True)
        kinds = [type_at(file.kinds, one) for file, one in pairs if one is not None]
        if not kinds:
            return None
        columns.check_everywhere(f"path column {name!r}", [one is not None for one in paths])
    wrong = [kind for kind in kinds if carried_type(kind) != pa.string()]
    if wrong:
        raise _no_path(columns, name, wrong[0])
    stored = tuple(None if one is None else one[0] for one in paths)
    inner = tuple(() if one is None else one[1:] for one in paths)
    return Column(name, pa.string(), stored, inner=inner)


def _no_path(columns: CatalogColumns, name: str, kind: pa.DataType | None) -> InputError:
    fields = kind if kind is not None and is_.is_struct(kind) else ()
    inner = [one.name for one in fields if carried_type(one.type) == pa.string()]
    hint = f" Its field is: --path-column {name}.{inner[0]}." if inner else ""
    return InputError(
        f"column {name!r} of catalog {columns.path} holds {kind or 'nothing'}; expected text: "
        f"the paths or URIs of image files.{hint} For images in the rows, use --image-column."
    )


def holders(columns: CatalogColumns, column: Column) -> set[str]:
    """Return the catalog's own names of what is, or holds, a column."""
    return {column.name} | {
        own
        for stored, root in zip(columns.stored, column.stored, strict=True)
        for own, inside in stored.items()
        if inside == root and column.inner
    }
