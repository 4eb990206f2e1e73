"""Where the tables of these tests are."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["table", "a table [1] é #x"])
def uri(request, tmp_path) -> str:
    return str(tmp_path / request.param)
