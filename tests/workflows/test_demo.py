from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.scene import tree
from vaeudf.errors import InputError
from vaeudf.model.bundle import load_bundle
from vaeudf.table.open import open_table
from vaeudf.workflows.demo import Demo, demo

pytestmark = pytest.mark.spark


@pytest.mark.slow
def test_the_whole_path(spark, tmp_path):
    root = tmp_path / "demo"
    summary = demo(Demo(f"file://{root}", items=120, epochs=1, latent_dim=3))
    assert sorted(path.name for path in root.iterdir()) == [
        *("catalog", "demo.json", "model", "posteriors", "queries.parquet", "report", "results")
    ]
    assert summary["items"] == open_table(str(root / "posteriors")).num_items == 120
    assert load_bundle(root / "model").latent_dim == 3
    queries = pq.read_table(root / "queries.parquet")
    assert pq.read_table(root / "results").num_rows == 10 * queries.num_rows
    page = Path(summary["report"]).read_text()
    assert all(name in page for name in queries["query_id"].to_pylist())
    # Slider positions are tenths, as a person would leave them.
    assert all(round(v, 1) == v for row in queries["z"].to_pylist() for v in row)

    with pytest.raises(InputError, match="items is 0"):
        demo(Demo(str(root), items=0))
    assert page == Path(summary["report"]).read_text(), "a mistake costs no earlier demo"
    demo(Demo(str(root), items=80, epochs=1, latent_dim=2))
    assert open_table(str(root / "posteriors")).num_items == 80


def test_nothing_but_a_demo_is_replaced(spark, tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(InputError, match="not empty and not an earlier demo"):
        demo(Demo(str(tmp_path)))
    assert tree(tmp_path) == {"thesis.doc": 1}
