"""Bundles in a store: read by way of copies on this machine, and written so that none is lost."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow import fs

from tests.support.object_store import make_bucket, object_store, put_folder
from tests.support.scene import LATENT_DIM, make_bundle, tree
from vaeudf.errors import BundleError, InputError, StoreError
from vaeudf.model.bundle import load_bundle
from vaeudf.model.bundle_files import DECODER, ENCODER, MANIFEST, bundle_files
from vaeudf.storage import locations
from vaeudf.storage.kept_files import KeptFiles
from vaeudf.storage.locations import filesystem
from vaeudf.storage.outputs import check_output


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def bucket(server, monkeypatch, request) -> str:
    return make_bucket(server, monkeypatch, request.node.name)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/vaeudf/models"


class Watched:
    """A file system that tells which files are read or copied, and refuses one copy if asked to."""

    def __init__(self, files: fs.FileSystem, refuses: str = "") -> None:
        self._files, self._refuses = files, refuses
        self.read: list[str] = []
        self.copied: list[str] = []

    def __getattr__(self, name):
        return getattr(self._files, name)

    def open_input_stream(self, path):
        self.read.append(path.rsplit("/", 1)[1])
        return self._files.open_input_stream(path)

    def copy_file(self, source, target):
        if self._refuses and self._refuses in target:
            self._refuses = ""
            raise OSError("AWS Error SLOW_DOWN during CopyObject operation: slow down")
        self.copied.append(target.rsplit("/", 1)[1])
        self._files.copy_file(source, target)


@pytest.fixture
def watch(monkeypatch):
    opened = locations._open_store

    def watch(refuses: str = "") -> Watched:
        watched = Watched(filesystem("s3://any/x")[0], refuses)
        monkeypatch.setattr(locations, "_open_store", lambda *args: (watched, opened(*args)[1]))
        return watched

    return watch


@pytest.fixture
def model(bucket, bundle_path) -> str:
    uri = f"{bucket}/models/a model é"
    put_folder(bundle_path, uri)
    return uri


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_is_fetched_once(model, bundle, bundle_path, cache, watch):
    watched = watch()
    first = load_bundle(model)
    assert first.model_id == bundle.model_id
    assert first.encoder_files == bundle.encoder_files
    assert sorted(watched.read) == sorted([MANIFEST, ENCODER, DECODER])
    expected = {sha256(Path(bundle_path, name)) for name in (ENCODER, DECODER)}
    assert set(os.listdir(cache)) == expected
    assert cache.stat().st_mode & 0o077 == 0
    watched.read.clear()
    assert load_bundle(model.replace("s3://", "s3a://") + "/").model_id == bundle.model_id
    assert watched.read == [MANIFEST]


@pytest.mark.parametrize("damage", [b"", b"x" * 100, None])
def test_a_damaged_copy_is_fetched_again(model, bundle, cache, watch, damage, caplog):
    load_bundle(model)
    copy = cache / bundle.manifest.files[ENCODER]
    whole = copy.read_bytes()
    flipped = bytes([whole[0], whole[1] ^ 1, *whole[2:]])
    copy.write_bytes(flipped if damage is None else damage)
    watched = watch()
    assert load_bundle(model).encoder_files == bundle.encoder_files
    assert watched.read == [MANIFEST, ENCODER]
    assert copy.read_bytes() == whole
    assert f"{copy} is damaged; it is fetched again." in caplog.text


def test_jobs_at_once(model, bundle, cache):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load_bundle(model).model_id, range(8)))
    assert found == [bundle.model_id] * 8
    assert {sha256(path) for path in cache.iterdir()} == {path.name for path in cache.iterdir()}


def test_a_cache_that_cannot_be_written(model, bundle, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_bundle(model).model_id == bundle.model_id
    assert "no copy could be kept in " in caplog.text


def test_copies_that_nobody_uses_go(tmp_path):
    kept = KeptFiles(tmp_path)
    contents = [b"old", b"used", b"new"]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    for name, content in zip(names[:2], contents[:2], strict=True):
        assert kept.get(name, lambda content=content: content) == content
        os.utime(tmp_path / name, (0, time.time() - 31 * 24 * 3600))
    assert kept.get(names[1], lambda: b"not asked") == b"used"
    assert kept.get(names[2], lambda: b"new") == b"new"
    assert set(os.listdir(tmp_path)) == set(names[1:])


def test_a_name_that_is_no_sha256(tmp_path):
    kept = KeptFiles(tmp_path / "models")
    for name in ("../../x", "A" * 64, "", f"{'a' * 63}/"):
        assert kept.get(name, lambda: b"content") == b"content"
    # What is fetched is another file than the manifest says.
    assert kept.get("0" * 64, lambda: b"content") == b"content"
    assert tree(tmp_path) == {}


def test_what_is_no_bundle(bucket, bundle_path, cache):
    has = "a bundle holds bundle.json, and encoder.safetensors and decoder.safetensors"
    for uri in (f"{bucket}/nothing", f"{bucket}-of-nobody/model"):
        with pytest.raises(BundleError, match=re.escape(f"{uri} has no readable bundle.json")):
            load_bundle(uri)
    put_folder(bundle_path, f"{bucket}/half", [MANIFEST, ENCODER])
    with pytest.raises(BundleError, match=rf"half has no readable {DECODER} \(there is no .*{has}"):
        load_bundle(f"{bucket}/half")
    shutil.rmtree(cache)
    put_folder(bundle_path, f"{bucket}/large", [MANIFEST, DECODER])
    put(f"{bucket}/large/{ENCODER}", bytes(2**25))
    with pytest.raises(BundleError, match=rf"large/{ENCODER} has 33,554,432 bytes; [\d,]* are the"):
        load_bundle(f"{bucket}/large")
    put(f"{bucket}/large/{ENCODER}", b"damaged")
    with pytest.raises(BundleError, match=rf"{bucket}/large/{ENCODER} has sha256 .* is damaged or"):
        load_bundle(f"{bucket}/large")
    with pytest.raises(BundleError, match="cannot open what://is/this"):
        bundle_files("what://is/this")


def put(uri: str, content: bytes) -> None:
    files, inner = filesystem(uri)
    with files.open_output_stream(inner) as stream:
        stream.write(content)


# ---- writing


def names_in(uri: str) -> list[str]:
    files, inner = filesystem(uri)
    found = files.get_file_info(fs.FileSelector(inner, recursive=True, allow_not_found=True))
    return sorted(entry.path[len(inner) + 1 :] for entry in found if entry.is_file)


def test_it_is_written_manifest_last(bucket, cache, watch, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"{bucket}/models/new"
    watched = watch()
    made = make_bundle(uri, LATENT_DIM, seed=1)
    assert sorted(watched.copied) == sorted([DECODER, ENCODER, MANIFEST])
    assert watched.copied[-1] == MANIFEST
    assert load_bundle(uri).model_id == made.model_id
    assert names_in(bucket) == [f"models/new/{name}" for name in (MANIFEST, DECODER, ENCODER)]
    again = make_bundle(uri, LATENT_DIM, seed=2)
    assert load_bundle(uri).model_id == again.model_id != made.model_id
    assert len(names_in(bucket)) == 3
    assert [name for name in os.listdir(tmp_path) if name.startswith("vaeudf-")] == []


def test_a_store_that_refuses_in_the_end(bucket, cache, watch, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"{bucket}/models/m"
    older = make_bundle(uri, LATENT_DIM, seed=1)
    watch(refuses=f"/m/{ENCODER}")
    with pytest.raises(StoreError) as caught:
        make_bundle(uri, LATENT_DIM, seed=2)
    assert caught.value.exit_code == 1
    found = re.fullmatch(
        rf"{uri} cannot be written \(AWS Error SLOW_DOWN during CopyObject operation: slow down\)\."
        rf" Nothing is lost: all that it was to hold is in ({tmp_path}/vaeudf-\w+) on "
        rf"{re.escape(socket.gethostname())}\. Use it from there, or copy that folder to where it "
        rf"is wanted, {MANIFEST} last\.",
        str(caught.value),
    )
    assert found is not None, caught.value
    assert load_bundle(found[1]).manifest.files != older.manifest.files
    assert load_bundle(uri).model_id == older.model_id
    assert names_in(bucket) == [f"models/m/{name}" for name in (MANIFEST, DECODER, ENCODER)]


def test_a_store_that_takes_nothing_is_found_out_first(bucket, monkeypatch):
    uri = f"{bucket}-of-nobody/models/m"
    with pytest.raises(InputError, match=rf"^{uri} cannot be written \(.*NO_SUCH_BUCKET"):
        check_output(uri, overwrite=False, marker=MANIFEST)
    put(f"{bucket}/file", b"")
    check_output(f"{bucket}/models/m", overwrite=False, marker=MANIFEST)
    assert names_in(bucket) == ["file"]


def test_a_manifest_says_which_weights(model, bundle, cache, watch):
    """The store's manifest counts, though copies of other weights are here."""
    load_bundle(model)
    other = make_bundle(model, LATENT_DIM, seed=5)
    assert load_bundle(model).model_id == other.model_id
    text = json.loads(bundle_files(model).manifest())
    assert text["files"] == other.manifest.files
