"""What the pages of several jobs need of a table and its model."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scene import LATENT_DIM, make_bundle
from vaeudf.decoding.table_model import load_model_of
from vaeudf.errors import BundleError, InputError
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.pictures import (
    closing_facts,
    load_decoder,
    places_read,
    slider_range,
)


def plain(tmp_path, latent_dim: int = LATENT_DIM) -> PosteriorTable:
    """Plain Parquet, which names neither a model nor a catalog."""
    path = str(tmp_path / "plain.parquet")
    zeros = [[0.0] * latent_dim] * 2
    pq.write_table(pa.table({"item_id": ["a", "b"], "mu": zeros, "log_var": zeros}), path)
    return open_posteriors(path)


def test_plain_parquet_needs_a_model_and_a_catalog(bundle_path, tmp_path):
    table = plain(tmp_path)
    for model, catalog in ((None, "c"), (bundle_path, None), (None, None)):
        with pytest.raises(InputError, match="a page needs --model and --catalog"):
            load_decoder(table, model, catalog)
    assert load_decoder(table, bundle_path, "c").latent_dim == LATENT_DIM


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(BundleError, match="Its decoder is needed here: name it with --model"):
        load_model_of(plain(tmp_path), str(tmp_path / "none"))


def test_a_model_of_another_latent_dim(bundle_path, tmp_path):
    with pytest.raises(BundleError) as caught:
        load_model_of(plain(tmp_path, latent_dim=3), bundle_path)
    assert str(caught.value) == (
        f"model {bundle_path} has latent_dim {LATENT_DIM}, but the posteriors have latent_dim 3; "
        "name the one they are from with --model."
    )


@pytest.mark.spark
def test_a_model_that_the_table_was_not_encoded_with(table, bundle_path, tmp_path):
    posteriors = open_posteriors(table)
    copied = tmp_path / "copied"
    shutil.copytree(bundle_path, copied)
    assert load_model_of(posteriors, str(copied)).model_id == posteriors.model_id
    make_bundle(tmp_path / "other", LATENT_DIM, seed=5)
    with pytest.raises(BundleError, match="its pictures would not be those of z"):
        load_model_of(posteriors, str(tmp_path / "other"))


@pytest.mark.spark
def test_what_a_result_must_not_replace(table, parquet_catalog, bundle_path, tmp_path):
    read = places_read(open_posteriors(table), table, None, str(tmp_path))
    assert set(read) == {table, str(tmp_path), bundle_path, parquet_catalog}


def test_the_facts_at_the_end_of_a_page():
    seconds = {"decode": 1.25, "report": 0.0}
    known = {"table": "t", "version": 3, "model_id": "0123456789abcdef", "seconds": seconds}
    assert closing_facts(known) == [
        *(("table", "t, version 3"), ("model", "0123456789ab"), ("seconds", "decode 1.2"))
    ]
    plain = {"table": "t", "version": None, "model_id": None, "seconds": {}}
    assert closing_facts(plain) == [("table", "t"), ("seconds", "0")]
    assert closing_facts({"seconds": {}}) == [("seconds", "0")]


def test_sliders_reach_every_point(bundle):
    assert bundle.manifest.z_range is None
    assert slider_range(bundle) == 3.0
    assert slider_range(bundle, np.zeros((2, 4)), np.array([[0.5, -4.2]])) == 5.0
