"""Networks on the hardware of a task: the CPU, or a GPU that works while the CPU decodes images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaeudf.errors import DeviceError, InputError
from vaeudf.images.spec import ImageSpec, check_pixels
from vaeudf.model.bundle import NetworkFiles, load_decoder, load_encoder
from vaeudf.model.decoder import PictureDecoder
from vaeudf.model.encoder import PosteriorEncoder
from vaeudf.model.onnx import runs_on_cpu_alone

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]
Posteriors = tuple[NDArray[np.float32], NDArray[np.float32]]


class Hardware(NamedTuple):
    """What networks run on.

    Attributes:
        device: ``cpu``, ``cuda``, or ``auto``: the GPU that Spark has assigned to the task, else
            one that torch sees, else the CPU.
        precision: Of an encoder: ``float32``, or ``bfloat16``, which is faster and less exact.
    """

    device: Device = "auto"
    precision: Precision = "float32"

    def check(self) -> None:
        """Raise InputError if a value is not one of these."""
        for name, kind in (("device", Device), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; expected one of "
                    f"{', '.join(get_args(kind))}."
                )


def choose_device(wanted: Device, address: str | None, task: int) -> torch.device:
    """Return the device that a task uses.

    Args:
        wanted: What was asked for.
        address: Of the GPU that Spark has assigned to the task; None if Spark assigns no GPUs.
        task: The number of the task's partition. If Spark assigns no GPUs, tasks are spread over
            those that torch sees by this number.

    Raises:
        DeviceError: A GPU was asked for, or assigned, and torch does not see it.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if address is not None:
        if not (address.isdecimal() and int(address) < count):
            raise DeviceError(
                f"Spark has given the task GPU {address}, but torch {torch.__version__} here sees "
                f"{count or 'none'}: is it a CUDA build, and is spark.executor.resource.gpu right? "
                "--device cpu does without."
            )
        return torch.device("cuda", int(address))
    if count:
        return torch.device("cuda", task % count)
    if wanted == "cuda":
        raise DeviceError(
            f"--device cuda, but torch {torch.__version__} sees no GPU where the task runs. Give "
            "executors one (spark.executor.resource.gpu.amount) and a CUDA build of torch, or "
            "leave --device out to run on CPUs."
        )
    return torch.device("cpu")


class BatchEncoder:
    """An encoder on a device.

    On a GPU :meth:`start` returns at once, and the GPU works while the caller decodes the images of
    the next batch.

    Attributes:
        spec: The pictures it takes.
        device: Where it runs.
    """

    def __init__(
        self, encoder: PosteriorEncoder, device: torch.device, precision: Precision = "float32"
    ) -> None:
        self.spec: ImageSpec = encoder.spec
        self.device = device
        self._encoder = encoder.to(device)
        self._half = precision == "bfloat16"
        if device.type == "cuda":
            _compute_in_float32()

    @torch.inference_mode()
    def start(self, pixels: NDArray[np.uint8]) -> Callable[[], Posteriors]:
        """Begin to encode pictures (B, H, W, C) uint8.

        Returns:
            A function that waits for mu and log_var, both (B, n) float32, and returns them.
        """
        check_pixels(pixels, self.spec)
        if self.device.type != "cuda":
            with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
                found = self._encoder.encode(pixels)
            return lambda: found
        # As bytes, a quarter of the floats, from pinned memory, which the GPU copies by itself.
        on_host = torch.from_numpy(np.require(pixels, requirements="W")).pin_memory()
        batch = self._encoder.scale(on_host.to(self.device, non_blocking=True))
        with torch.autocast("cuda", torch.bfloat16, enabled=self._half):
            mu, log_var = self._encoder(batch)
        answers = [self._to_host(part) for part in (mu, log_var)]
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self.device))

        def wait() -> Posteriors:
            done.synchronize()
            return answers[0].numpy(), answers[1].numpy()

        return wait

    def _to_host(self, part: Tensor) -> Tensor:
        answer = torch.empty(part.shape, dtype=torch.float32, pin_memory=True)
        return answer.copy_(part.float(), non_blocking=True)


def load_batch_encoder(
    files: NetworkFiles, hardware: Hardware, address: str | None, task: int
) -> BatchEncoder:
    """Rebuild a bundle's encoder on the device that a task uses.

    Raises:
        BundleError: As :func:`vaeudf.load_bundle`.
        DeviceError: As :func:`choose_device`.
    """
    with warnings.catch_warnings():
        # torch warns in each task about GPUs that are too old for it, used or not.
        warnings.simplefilter("ignore")
        encoder = load_encoder(files)
        device = _device_of(encoder, hardware, address, task)
        return BatchEncoder(encoder, device, hardware.precision)


def load_batch_decoder(
    files: NetworkFiles, hardware: Hardware, address: str | None, task: int
) -> PictureDecoder:
    """Rebuild a bundle's decoder on the device that a task uses, always in float32.

    Raises:
        BundleError: As :func:`vaeudf.load_bundle`.
        DeviceError: As :func:`choose_device`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        decoder = load_decoder(files)
        device = _device_of(decoder.network, hardware, address, task)
        if device.type == "cuda":
            _compute_in_float32()
        return decoder.to(device)


def _device_of(
    network: nn.Module, hardware: Hardware, address: str | None, task: int
) -> torch.device:
    """Return the device that a task runs a network on."""
    if not runs_on_cpu_alone(network):
        return choose_device(hardware.device, address, task)
    for name, usual in (("device", ("auto", "cpu")), ("precision", ("float32",))):
        if getattr(hardware, name) not in usual:
            raise DeviceError(
                f"--{name} {getattr(hardware, name)}, but the model is a file of ONNX, which runs "
                f"on the CPU, in its own precision. Leave --{name} out."
            )
    return torch.device("cpu")


def _compute_in_float32() -> None:
    # TF32, the default for convolutions, keeps ten bits of each factor.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def use_threads(count: int) -> None:
    """Let torch use this many threads in this process."""
    torch.set_num_threads(count)
