"""Models of ONNX: files of operators, which onnxruntime runs on the CPU.

ONNX holds no code of somebody's own, so such a model needs no trust. Operators that onnxruntime
does not have would come from a library of code, and none is ever loaded.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.model.answers import Outputs
from vaeudf.model.architecture import (
    Architecture,
    foreign_encoder,
    gives_test_vector,
)
from vaeudf.model.bundle_files import ENCODER_ONNX
from vaeudf.model.encoder import PosteriorEncoder
from vaeudf.model.foreign import ForeignEncoder, networks_of
from vaeudf.model.interface import Interface
from vaeudf.model.manifest import Manifest
from vaeudf.model.networks import Networks
from vaeudf.model.onnx_file import MOST_BYTES, check_whole

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_ERRORS_ALONE = 3
_LONGEST_CAUSE = 300


class OnnxNetwork(nn.Module):
    """One file of ONNX, called as a module of torch is.

    Attributes:
        name: What messages call it.
        content: Of the file; empty until :meth:`load`.
    """

    def __init__(self, name: str) -> None:
        """Prepare to load a file of this name."""
        super().__init__()
        self.name = name
        self.content = b""
        self._session: Any = None
        self._threads = 0

    def load(self, content: bytes) -> None:
        """Take the content of a file of ONNX.

        Raises:
            BundleError: onnxruntime is not installed, or does not run it; or it takes something
                else than one tensor of floats.
        """
        check_whole(content, self.name)
        self.content = content
        self._start()
        self._check_inputs()

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says of itself."""
        meta = self._session.get_modelmeta()
        return {"producer": meta.producer_name, "graph": meta.graph_name}

    def forward(self, x: Tensor) -> Any:
        """Run the model on a batch.

        Returns:
            The output, or several as :class:`Outputs`, in the model's order.

        Raises:
            BundleError: The batch has another shape than the model takes.
        """
        # The threads that the scheduler gives a task may be known only after loading.
        if self._threads != torch.get_num_threads():
            self._start()
        (taken,) = self._session.get_inputs()
        self._check_shape(x, taken.shape)
        given = x.detach().cpu().numpy()
        array = np.ascontiguousarray(given, dtype=_TYPES[taken.type])
        size = taken.shape[0] if isinstance(taken.shape[0], int) else max(len(array), 1)
        answers = [self._run(taken.name, array[i : i + size], size) for i in range(0, len(x), size)]
        names = [output.name for output in self._session.get_outputs()]
        parts = zip(*answers, strict=True)
        columns = [torch.from_numpy(np.concatenate(part)).to(x.device) for part in parts]
        found = Outputs(zip(names, columns, strict=True))
        return columns[0] if len(columns) == 1 else found

    def __deepcopy__(self, _: dict[int, Any]) -> OnnxNetwork:
        """Return the network itself: nothing of it changes, and a session has no copy."""
        return self

    def _run(self, name: str, batch: NDArray[Any], size: int) -> list[NDArray[Any]]:
        """Run the model on at most as many rows as it takes at a time."""
        missing = size - len(batch)
        if missing:  # the last batch of a model whose batches have one size
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        try:
            answers = self._session.run(None, {name: batch})
        except Exception as error:  # of onnxruntime's own kinds
            raise BundleError(self._about_failure(name, batch, _cause(error))) from None
        return [part[: size - missing] if np.ndim(part) else part[None] for part in answers]

    def _about_failure(self, name: str, batch: NDArray[Any], why: str) -> str:
        """Return what to say of a batch that the model does not take."""
        try:
            self._session.run(None, {name: batch[:1]})
        except Exception:  # of onnxruntime's own kinds
            return f"{self.name} does not run on an array of shape {batch.shape}: {why}."
        return (
            f"{self.name} says that it takes any number of rows and takes one alone, as it was "
            f"exported with an example of one ({why}). Export it again for any number, as by "
            'dynamic_shapes=({0: torch.export.Dim("n")},) and an example of two.'
        )

    def _start(self) -> None:
        onnxruntime = _onnxruntime()
        if not self.content:
            raise BundleError(f"{self.name} is not loaded.")
        self._threads = torch.get_num_threads()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ALONE
        # A thread that waits for work would take a core from the tasks beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                self.content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of onnxruntime's own kinds, which have no base class
            why = _cause(error)
            own = "registered function/op" in why or "No Op registered" in why
            raise BundleError(
                f"onnxruntime {onnxruntime.__version__} does not run {self.name}: {why}. "
                + (
                    "Operators of somebody's own are code, and are not loaded; export the model "
                    "with the operators of ONNX."
                    if own
                    else "Export it again, for an older opset if onnxruntime is older."
                )
            ) from None

    def _check_inputs(self) -> None:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            listed = ", ".join(f"{i.name!r} {i.shape}" for i in inputs) or "none"
            raise BundleError(
                f"{self.name} takes {len(inputs)} inputs: {listed}; expected one, "
                "as vaeudf gives it pictures (or a decoder latents) alone. If another is a label "
                "or a flag, export the model again with that fixed inside: wrapped in a model "
                "that passes a constant on."
            )
        if inputs[0].type not in _TYPES:
            raise BundleError(
                f"{self.name} takes {inputs[0].type}; expected {' or '.join(_TYPES)}. Export the "
                "model without what turns bytes into floats; --scaling says what that did."
            )

    def _check_shape(self, x: Tensor, expected: list[Any]) -> None:
        known = [side if isinstance(side, int) else None for side in expected]
        fits = len(known) in (0, x.ndim) and all(
            side in (None, found) for side, found in zip(known[1:], x.shape[1:], strict=False)
        )
        if not fits:
            shape = ", ".join(["N", *("any" if side is None else str(side) for side in known[1:])])
            raise BundleError(
                f"{self.name} takes tensors of shape ({shape}), and not {tuple(x.shape)}. Are "
                "--image-size, --channels and --pixel-layout right?"
            )


class OnnxArchitecture(Architecture):
    """An encoder, and perhaps a decoder, each a file of ONNX."""

    def __init__(self, manifest: Manifest, interface: Interface) -> None:
        super().__init__(manifest)
        self.interface = interface

    def build(self, *, trust_model: bool) -> Networks:
        """Return networks for the files; no trust is needed."""
        model = nn.ModuleDict({"encoder": OnnxNetwork(ENCODER_ONNX)})
        for name in self.manifest.weight_files[1:]:
            model["decoder"] = OnnxNetwork(name)
        return networks_of(model, self.interface, self.manifest.image)

    def most_bytes(self, networks: Networks, name: str) -> int:
        """Return the most that a file of ONNX can have."""
        return MOST_BYTES

    def load(self, networks: Networks, name: str, content: bytes) -> None:
        """Load a file of ONNX."""
        self._parts(networks)[name].load(content)

    def contents(self, networks: Networks) -> dict[str, bytes]:
        """Return the files, as they were loaded."""
        return {name: part.content for name, part in self._parts(networks).items()}

    def encoder(self, networks: Networks) -> PosteriorEncoder:
        """Return the encoder."""
        return foreign_encoder(self.manifest, networks).eval()

    def decoder(self, networks: Networks) -> nn.Module:
        """Return the decoder."""
        return networks.decoder.eval()

    def check(self, networks: Networks) -> None:
        """Compare what the encoder gives for noise with the test vector, if it is loaded."""
        if self._parts(networks)[ENCODER_ONNX].content and not gives_test_vector(
            self.manifest, networks
        ):
            raise BundleError(
                f"{ENCODER_ONNX} gives other posteriors here than it did when the bundle was made: "
                f"onnxruntime is {_onnxruntime().__version__} here, perhaps on another kind of "
                "processor, which counts for quantized models. Export the model again here, and "
                "encode everything with it."
            )

    def _parts(self, networks: Networks) -> dict[str, OnnxNetwork]:
        assert isinstance(networks.encoder, ForeignEncoder)
        parts = networks.encoder.model.children()
        named = zip(self.manifest.weight_files, parts, strict=False)
        return {name: part for name, part in named if isinstance(part, OnnxNetwork)}


def runs_on_cpu_alone(network: nn.Module) -> bool:
    """Whether a network, or a part of it, is a file of ONNX."""
    return any(isinstance(part, OnnxNetwork) for part in network.modules())


def _cause(error: Exception) -> str:
    """Return what onnxruntime says, without its own files and functions."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return re.sub(r"/\S+:\d+ .*?\) (?=[A-Za-z])", "", text)[:_LONGEST_CAUSE].rstrip(". ")


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(
            f"the model is a file of ONNX, which onnxruntime runs, and that cannot be imported "
            f"here ({error}). Install it on every machine that runs the model: "
            "pip install 'vaeudf[onnx]', or pip install onnxruntime."
        ) from None
    return onnxruntime
