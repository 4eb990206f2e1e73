"""Patterns as Hadoop knows them, matched by listing a store from here, without Hadoop.

``*`` and ``?`` stand for characters of a name, ``[a-c]`` and ``[^a-c]`` for one of some, ``{a,b}``
for either, and a backslash takes the next character literally.
"""

from __future__ import annotations

import re
from itertools import pairwise

from pyarrow import fs

from vaeudf.storage.locations import absolute, filesystem

_SPECIAL = re.compile(r"[*?\[\\]")


def matches(pattern: str, root: str) -> dict[str, bool]:
    """Return what matches a pattern, and whether each match is a file.

    Args:
        pattern: A path below ``root``, down to which it has no wildcards.
        root: A folder, not a pattern.

    Returns:
        By the path below the root, which begins with a slash.

    Raises:
        OSError: A folder cannot be listed, or the pattern is none.
    """
    base = absolute(root).rstrip("/")
    files, inner = filesystem(base or "/")
    inner = inner.rstrip("/")
    found: dict[str, bool] = {}
    # Names of the root may be escaped in the pattern.
    below = absolute(pattern).split("/", base.count("/") + 1)[-1]
    for plain in _without_braces(below):
        level = [""]
        *above, last = [name for name in plain.split("/") if name]
        for name in above:
            level = [one for one, is_file in _children(files, inner, level, name) if not is_file]
        found |= dict(_children(files, inner, level, last))
    return found


def _children(
    files: fs.FileSystem, root: str, folders: list[str], name: str
) -> list[tuple[str, bool]]:
    """Return what a name or a pattern finds in folders, and whether each is a file."""
    if not _SPECIAL.search(name):
        infos = files.get_file_info([f"{root}{folder}/{name}" for folder in folders])
        kinds = list(zip([f"{folder}/{name}" for folder in folders], infos, strict=True))
    else:
        expression = _expression(name)
        kinds = [
            (f"{folder}/{info.base_name}", info)
            for folder in folders
            for info in files.get_file_info(fs.FileSelector(f"{root}{folder}" or "/"))
            if expression.fullmatch(info.base_name)
        ]
    return [
        (path, info.type == fs.FileType.File)
        for path, info in kinds
        if info.type in (fs.FileType.File, fs.FileType.Directory)
    ]


def _without_braces(pattern: str) -> list[str]:
    """Return the patterns that one with braces stands for."""
    depth, start, commas = 0, -1, list[int]()
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        if sign == "\\":
            place += 1
        elif sign == "{":
            depth += 1
            if depth == 1:
                start = place
        elif sign == "," and depth == 1:
            commas.append(place)
        elif sign == "}" and depth:
            depth -= 1
            if depth == 0:
                bounds = [start, *commas, place]
                parts = [pattern[a + 1 : b] for a, b in pairwise(bounds)]
                before, after = pattern[:start], pattern[place + 1 :]
                return [one for part in parts for one in _without_braces(before + part + after)]
        place += 1
    if depth:
        raise OSError(f"Unclosed group near {pattern[start:]!r}")
    return [pattern]


def _expression(name: str) -> re.Pattern[str]:
    """Return the regular expression of a name with wildcards."""
    parts = []
    place = 0
    while place < len(name):
        sign = name[place]
        if sign == "*":
            parts.append(".*")
        elif sign == "?":
            parts.append(".")
        elif sign == "\\":
            place += 1
            parts.append(re.escape(name[place : place + 1]))
        elif sign == "[":
            group = re.match(r"\[([\^!]?)((?:\\.|[^\]\\])+)\]", name[place:])
            if group is None:
                raise OSError(f"Unclosed character class near {name[place:]!r}")
            signs = re.sub(r"([\[^&~|])", r"\\\1", group[2])
            parts.append(f"[{'^' if group[1] else ''}{signs}]")
            place += len(group[0]) - 1
        else:
            parts.append(re.escape(sign))
        place += 1
    return re.compile("".join(parts), re.DOTALL)
