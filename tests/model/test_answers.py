"""Parts of an answer by their paths."""

from __future__ import annotations

import pytest

from vaeudf.errors import BundleError
from vaeudf.model.answers import pick


def test_paths():
    class Thing:
        part = {"a": [1, {"b": 5}]}  # noqa: RUF012

    assert pick(Thing(), "part.a.1.b") == 5
    thing = Thing()
    assert pick(thing, "") is thing
    with pytest.raises(BundleError, match=r"^a Thing has no 'part\.a\.2'; name another place"):
        pick(thing, "part.a.2")
