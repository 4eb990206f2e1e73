"""Where posteriors come from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vaeudf.catalog.source import CatalogSource
from vaeudf.encoding.provenance import Provenance
from vaeudf.table.pixel_files import PictureShape

SOURCE = CatalogSource("/photos", "parquet", payload_columns=["price"])
OWN = Provenance("m1", "/model", SOURCE, "float32", "20260101T000000-0123abcd")


def test_it_is_read_back():
    metadata = OWN.to_metadata()
    assert set(metadata) == {
        *("vaeudf.model_id", "vaeudf.model_path", "vaeudf.catalog"),
        *("vaeudf.run_id", "vaeudf.precision"),
    }
    assert Provenance.from_metadata(metadata) == OWN


def test_kept_pixels_are_part_of_it():
    kept = replace(OWN, pictures=PictureShape(4, 5, 3))
    metadata = kept.to_metadata()
    assert metadata["vaeudf.pixels"] == '{"height": 4, "width": 5, "channels": 3}'
    assert Provenance.from_metadata(metadata) == kept != OWN
    assert OWN.agrees_with(kept), "the posteriors are the same"
    assert kept.staging_key(full=False) != OWN.staging_key(full=False)


def test_tables_of_before_precision_was_a_choice():
    metadata = OWN.to_metadata()
    del metadata["vaeudf.precision"]
    assert Provenance.from_metadata(metadata) == OWN


@pytest.mark.parametrize(
    ("changed", "agrees"),
    [
        ({"run_id": "20260102T000000-0123abcd", "model_path": "/moved"}, True),
        ({"source": replace(SOURCE, path="/today", payload_columns=None)}, True),
        ({"model_id": "m2"}, False),
        ({"precision": "bfloat16"}, False),
        ({"source": replace(SOURCE, image_column="back")}, False),
        ({"source": replace(SOURCE, version_column="v")}, False),
    ],
)
def test_whose_posteriors_are_the_same(changed, agrees):
    assert OWN.agrees_with(replace(OWN, **changed)) == agrees


def test_the_key_of_staged_chunks():
    # As it has been since staging was introduced: chunks of an older vaeudf are taken over.
    assert OWN.staging_key(full=False) == (
        "4f5d826377872bcb0f19b5160f0f9dbdc1dbe0f58770530337fc6a151d3df0da"
    )
    others = [
        OWN.staging_key(full=True),
        replace(OWN, model_id="m2").staging_key(full=False),
        replace(OWN, precision="bfloat16").staging_key(full=False),
        replace(OWN, source=replace(SOURCE, path="/today")).staging_key(full=False),
    ]
    assert len({OWN.staging_key(full=False), *others}) == 5
    assert replace(OWN, run_id="x", model_path="y").staging_key(full=False) == OWN.staging_key(
        full=False
    )
