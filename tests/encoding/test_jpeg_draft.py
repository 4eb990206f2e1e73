"""The manifest alone decides at what size JPEGs are decoded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.bundles import new_manifest, new_networks
from tests.support.files import encoded
from tests.support.tolerances import assert_same_float32, differ, terms_of
from vaeudf.encoding.photos import encode_photos
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle, save_bundle
from vaeudf.model.manifest import MANIFEST

SPEC = ImageSpec(16, 32, resize="stretch")
# The networks' pictures are 32 × 16; twice that is what is left of these.
WIDTH, HEIGHT = 515, 397


@pytest.fixture
def photo(tmp_path):
    # Edges, which the decoder's average and the filter of the whole picture blur in other ways.
    squares = np.random.default_rng(0).integers(0, 2, (31, 40, 3), dtype=np.uint8) * 255
    levels = squares.repeat(13, axis=0).repeat(13, axis=1)[:HEIGHT, :WIDTH]
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(levels, "JPEG", quality=90))
    return path


def by_pillow(path, size):
    """The picture as the network wants it, with Pillow alone; decoded at ``size`` or more."""
    with Image.open(path) as im:
        drafted = im.draft("RGB", size)
        small = im.resize((32, 16), Image.Resampling.BICUBIC, drafted[1])
    return torch.from_numpy(np.asarray(small)[None] / np.float32(255)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"jpeg_draft": True, "jpeg_draft_gap": 2}, (64, 32)),
        ({"jpeg_draft": False}, (WIDTH, HEIGHT)),
        ({}, (WIDTH, HEIGHT)),  # as a manifest may be that was made without any of it
    ],
)
def test_a_photo_is_encoded_as_the_manifest_says(tmp_path, photo, said, size):
    networks = new_networks()
    with torch.no_grad():  # so that mu depends on the picture, and not on biases
        for name, parameter in networks.encoder.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    save_bundle(tmp_path / "m", networks, new_manifest(image=SPEC))
    content = json.loads((tmp_path / "m" / MANIFEST).read_text())
    assert content["image"].pop("jpeg_draft") is False and "jpeg_draft_gap" not in content["image"]
    content["image"].update(said)
    text = json.dumps(content).encode()
    (tmp_path / "m" / MANIFEST).write_bytes(text)
    bundle = load_bundle(tmp_path / "m")
    assert bundle.model_id == hashlib.sha256(text).hexdigest()
    found = encode_photos([(str(photo), photo.stat().st_size)], bundle, "float32")
    with torch.no_grad():
        expected = networks.encoder(by_pillow(photo, size))
        others = networks.encoder(by_pillow(photo, (WIDTH, HEIGHT) if size[0] == 64 else (64, 32)))
    for answer, right, wrong in zip(found, expected, others, strict=True):
        assert_same_float32(answer, right, terms=terms_of(networks.encoder))
        assert differ(answer, wrong.numpy())


def test_a_model_that_drafts_is_another_model(tmp_path):
    ids = [
        save_bundle(tmp_path / name, new_networks(), new_manifest(image=spec)).model_id
        for name, spec in (
            ("whole", SPEC),
            ("drafted", replace(SPEC, jpeg_draft=True)),
            ("as first", replace(SPEC, jpeg_draft=True, jpeg_draft_gap=1)),
        )
    ]
    assert len(set(ids)) == 3
