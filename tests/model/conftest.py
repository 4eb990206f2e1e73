"""A bundle of a small VAE."""

from __future__ import annotations

import pytest

from tests.support.bundles import new_manifest, new_networks
from vaeudf.model.bundle import save_bundle


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    save_bundle(path, new_networks(), new_manifest())
    return path
