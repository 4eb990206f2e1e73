"""The pictures of a version: which are shown, which are compared, and why there is none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.support.scene import SPEC
from tests.support.shop import ODD_IDS, folder_catalog, publish_shop
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.pictures import NoPicture, Pictures
from vaeudf.images.decode import decode_image, thumbnail


@pytest.fixture(scope="module")
def kept_table(shop, tmp_path_factory):
    table = str(tmp_path_factory.mktemp("kept") / "posteriors")
    return publish_shop(shop, table, "20260101T000000-aaaaaaaa", keep_pixels=True)


def test_kept_pixels_are_shown_where_there_is_no_catalog(shop, kept_table):
    ids = LoadedTable.load(kept_table, cache=None).ids
    pictures = Pictures(kept_table, ids)
    assert pictures.why_not is None
    shown = pictures.thumbnail(0)
    assert shown.media_type == "image/png"
    [expected] = [decode_image(shop.images[ids[0].as_py()], SPEC)]
    np.testing.assert_array_equal(decode_image(shown.data, SPEC), expected)


def test_the_catalogs_pictures_are_shown_and_those_that_are_kept_compared(
    shop, kept_table, tmp_path
):
    source = folder_catalog(shop, tmp_path / "photos")
    ids = LoadedTable.load(kept_table, cache=None).ids
    item_id = ids[2].as_py()
    pictures = Pictures(kept_table, ids, source.path)
    assert pictures.thumbnail(2, 30).data == thumbnail(shop.images[item_id], 30)
    (tmp_path / "photos" / item_id).write_bytes(b"not a picture any more")
    expected = decode_image(shop.images[item_id], SPEC)
    np.testing.assert_array_equal(pictures.pixels(2, SPEC), expected)
    kept = pictures.thumbnail(2, 5)
    assert kept.media_type == "image/png", "what is kept, instead"
    assert max(Image.open(io.BytesIO(kept.data)).size) == 5


def test_why_a_picture_is_not_shown(shop, tmp_path):
    source = folder_catalog(shop, tmp_path / "photos")
    table = publish_shop(shop, str(tmp_path / "table"), "r1", catalog=source)
    loaded = LoadedTable.load(table, cache=None)
    pictures = Pictures(table, loaded.ids)
    gone, damaged = loaded.row_of(ODD_IDS[0]), loaded.row_of(ODD_IDS[1])
    (tmp_path / "photos" / ODD_IDS[0]).unlink()
    (tmp_path / "photos" / ODD_IDS[1]).write_bytes(b"\x89PNG\r\n\x1a\n")
    for row, reason in (
        (gone, "the catalog does not have it any more."),
        (damaged, "its image cannot be decoded."),
    ):
        with pytest.raises(NoPicture) as caught:
            pictures.thumbnail(row)
        item_id = loaded.ids[row].as_py()
        assert str(caught.value) == (f"the picture of item {item_id!r} cannot be shown: {reason}")
        assert pictures.pixels(row, SPEC) is None
