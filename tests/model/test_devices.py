"""The device that a task takes, and what an encoder gives on it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from tests.support.tolerances import assert_same_bfloat16, assert_same_float32, terms_of
from vaeudf.errors import DeviceError, InputError
from vaeudf.model.devices import Hardware, choose_device, load_batch_encoder

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


def pictures(count):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def gpus(monkeypatch):
    """As many GPUs as a test says, as far as torch tells."""

    def there(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return there


@pytest.mark.parametrize(
    ("count", "wanted", "address", "task", "device"),
    [
        (0, "auto", None, 3, "cpu"),
        (0, "cpu", None, 3, "cpu"),
        (2, "cpu", "1", 3, "cpu"),
        (2, "auto", None, 3, "cuda:1"),
        (2, "auto", None, 4, "cuda:0"),
        (2, "cuda", None, 5, "cuda:1"),
        (4, "auto", "2", 1, "cuda:2"),
        (4, "cuda", "3", 0, "cuda:3"),
    ],
)
def test_the_device_of_a_task(gpus, count, wanted, address, task, device):
    gpus(count)
    assert choose_device(wanted, address, task) == torch.device(device)


@pytest.mark.parametrize(
    ("count", "wanted", "address", "message"),
    [
        (0, "cuda", None, "--device cuda, but torch .* sees no GPU where the task runs. Give"),
        (0, "auto", "0", "Spark has given the task GPU 0, but torch .* here sees none: is it a"),
        (2, "auto", "2", "Spark has given the task GPU 2, but torch .* here sees 2: is it"),
        (2, "cuda", "GPU-5f", "Spark has given the task GPU GPU-5f, but torch .* here sees 2"),
    ],
)
def test_a_gpu_that_is_not_there(gpus, count, wanted, address, message):
    gpus(count)
    with pytest.raises(DeviceError, match=message):
        choose_device(wanted, address, 0)


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        (Hardware("gpu"), "device is 'gpu'; expected one of auto, cpu, cuda."),
        (Hardware(precision="half"), "precision is 'half'; expected one of float32, bfloat16."),
    ],
)
def test_hardware_that_is_none(hardware, message):
    with pytest.raises(InputError, match=re.escape(message)):
        hardware.check()


def test_on_the_cpu(bundle):
    encoder = load_batch_encoder(bundle.encoder_files, Hardware("cpu"), None, 0)
    assert encoder.device == torch.device("cpu") and encoder.spec == bundle.manifest.image
    waits = [encoder.start(pictures(9)[start : start + 3]) for start in (0, 3, 6)]
    found = [np.concatenate(parts) for parts in zip(*(wait() for wait in waits), strict=True)]
    for part, expected in zip(found, bundle.encoder.encode(pictures(9)), strict=True):
        assert part.dtype == np.float32
        assert_same_float32(part, expected, terms=terms_of(bundle.encoder))
    with pytest.raises(InputError, match=r"pixels are uint8 of shape \(1, 8, 8, 3\)"):
        encoder.start(np.zeros((1, 8, 8, 3), np.uint8))


def test_bfloat16_is_near_and_another(bundle):
    half = load_batch_encoder(bundle.encoder_files, Hardware("cpu", "bfloat16"), None, 0)
    found = half.start(pictures(20))()
    for part, expected in zip(found, bundle.encoder.encode(pictures(20)), strict=True):
        assert part.dtype == np.float32 and (part != expected).any()
        assert_same_bfloat16(part, expected, layers=5)


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu(bundle, precision):
    encoder = load_batch_encoder(bundle.encoder_files, Hardware("cuda", precision), None, 0)
    assert encoder.device.type == "cuda"
    waits = [encoder.start(pictures(60)[start : start + 20]) for start in (0, 20, 40)]
    found = [np.concatenate(parts) for parts in zip(*(wait() for wait in waits), strict=True)]
    for part, expected in zip(found, bundle.encoder.encode(pictures(60)), strict=True):
        if precision == "float32":
            assert_same_float32(part, expected, terms=terms_of(bundle.encoder))
        else:
            assert_same_bfloat16(part, expected, layers=5)
