"""Folders with odd names, and what is in them."""

from __future__ import annotations

from pathlib import Path

NAMES = [
    "plain",
    "with space",
    "Ünïcode 日本 👕",
    "[a]{b}*?",
    "50%25",
    "a#b?c=d&e",
    'it\'s "so"',
    "-x",
]
LONG = {f"f{i}": str(i) for i in range(5)}


def fill(folder, **files):
    """Write files, also below folders that do not exist yet."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        Path(folder, name).write_text(text)


def tree(folder):
    """All files below a folder, hidden ones too, with their text."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}
