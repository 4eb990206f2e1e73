"""What the next version of a table keeps of what others have said of its columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.support.versions import put
from vaeudf.schema import posterior_schema
from vaeudf.table.evolution import next_schema
from vaeudf.table.open import open_table


@pytest.mark.parametrize("name", ["price", "Price", "PRICE"])
def test_a_comment_stays_with_a_column_whose_capitals_change(uri, name):
    put(uri, "r1", ["a"])
    DeltaTable(uri).alter.set_column_metadata("price", {"comment": "in euros"})
    run = posterior_schema(pa.schema([(name, pa.float64())]), {})
    field = next_schema(run, open_table(uri)).field(name)
    assert field.metadata[b"comment"] == b"in euros"
    assert field.type == pa.float64() and field.nullable
