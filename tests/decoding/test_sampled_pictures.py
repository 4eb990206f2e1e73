"""How far pictures are from what z's decode to, against torch in float64, and reading them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.scene import NUM_ITEMS, SPEC
from tests.support.tolerances import FUNCTION, assert_same_float32, assert_same_float64
from vaeudf.catalog.source import CatalogSource
from vaeudf.decoding import collected_pictures, sampled_pictures
from vaeudf.decoding.collected_pictures import collect_pictures
from vaeudf.decoding.sampled_pictures import SampledPictures
from vaeudf.errors import InputError
from vaeudf.images.decode import decode_image
from vaeudf.images.structure import edges_of, structure_distances
from vaeudf.model.likelihood import BernoulliPixels, GaussianPixels

SHAPE = (8, 6, 3)
SIZE = 8 * 6 * 3


def sample(count=11, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    levels = (1.4 * rng.random((5, *SHAPE)) - 0.2).astype(np.float32)
    return pixels, levels


@pytest.mark.parametrize("per_block", [SIZE, 3 * SIZE, 10**6])
def test_squared_errors(monkeypatch, per_block):
    monkeypatch.setattr(sampled_pictures, "_LEVELS_PER_BLOCK", per_block)
    monkeypatch.setattr(sampled_pictures, "_LEVELS_DECODED", per_block)
    pixels, levels = sample()
    found = SampledPictures(pixels).distances(levels, GaussianPixels(0.02), 3)
    x, m = torch.tensor(pixels / 255), torch.tensor(levels, dtype=torch.float64)
    expected = ((x - m[:, None]) ** 2).mean(dim=(2, 3, 4)).numpy()
    # The squares cancel: what is rounded are x², m² and 2xm.
    assert_same_float64(found.errors, expected, terms=2 * SIZE, magnitude=4.0)
    log_p = torch.distributions.Normal(m[:, None], 0.02**0.5).log_prob(x).sum(dim=(2, 3, 4))
    assert (np.argsort(-found.log_densities) == np.argsort(-log_p.numpy())).all()
    assert found.structure.shape == (3, 11)
    alike = structure_distances(edges_of(levels[:3]), edges_of((pixels / 255).astype(np.float32)))
    assert_same_float32(found.structure, alike, terms=8 * FUNCTION)


def test_bernoulli():
    pixels, levels = sample(seed=1)
    levels[0, 0, 0] = 0.0, 1.0, 1e-38
    pixels[0, 0, 0] = 0, 255, 200
    found = SampledPictures(pixels).distances(levels, BernoulliPixels(), 0)
    x = torch.tensor(pixels / 255)
    m = torch.tensor(levels, dtype=torch.float64).clamp(0, 1)[:, None].expand(-1, len(x), *SHAPE)
    terms = torch.nn.functional.binary_cross_entropy(m, x.expand_as(m), reduction="none")
    size = terms.abs().sum(dim=(2, 3, 4)).numpy() + 200.0 * SIZE
    expected = -terms.sum(dim=(2, 3, 4)).numpy()
    assert_same_float64(
        found.log_densities, expected, terms=2 * SIZE + 4 * FUNCTION, magnitude=size
    )
    assert found.structure.shape == (0, 11)


def test_without_a_likelihood_pictures_rank_by_squared_error():
    pixels, levels = sample(seed=2)
    found = SampledPictures(pixels).distances(levels, None, 1)
    assert (np.argsort(-found.log_densities) == np.argsort(found.errors)).all()


@pytest.mark.slow
@pytest.mark.spark
def test_pictures_of_some_items(spark, garments, tmp_path, monkeypatch):
    """In the order asked for; those that are broken or gone are left out."""
    monkeypatch.setattr(collected_pictures, "_BYTES_HELD", 5 * SPEC.height * SPEC.width * 3)
    rows = garments.to_pylist()
    rows[3]["image"] = b"no picture"
    pq.write_table(pa.Table.from_pylist(rows, garments.schema), tmp_path / "a.parquet")
    names = [row["item_id"] for row in rows]
    wanted = [*names[30:35], "gone", *names[:6]]
    found, there = collect_pictures(spark, CatalogSource(str(tmp_path)), SPEC, wanted)
    assert there.tolist() == [name not in ("gone", names[3]) for name in wanted]
    images = {row["item_id"]: row["image"] for row in rows}
    expected = [
        decode_image(images[name], SPEC) for name, has in zip(wanted, there, strict=True) if has
    ]
    assert (found.pixels == np.stack(expected)).all()


def test_more_than_fit_are_refused(monkeypatch):
    monkeypatch.setattr(collected_pictures, "_MAX_BYTES", 2 * 2**30)
    collected_pictures.check_fits(NUM_ITEMS, SPEC)
    with pytest.raises(InputError) as caught:
        collected_pictures.check_fits(3_000_000, SPEC)
    assert str(caught.value) == (
        "3,000,000 pictures of 768 bytes are 2.1 GiB; the driver takes at most 2 GiB. "
        "Take at most 2,796,202: --pictures."
    )
