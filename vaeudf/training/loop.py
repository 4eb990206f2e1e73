"""Train the reference VAE on pictures held in memory, in one process or in several at once."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from tqdm import tqdm

from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.manifest import Manifest
from vaeudf.model.networks import Networks, channels_last
from vaeudf.model.pixels import PixelScaler

log = logging.getLogger(__name__)

_GRADIENT_NORM = 1.0
# Pixels rounded to 256 levels carry this squared error at least, on average. Without a floor,
# pictures that are all white reach an error of 0, and its logarithm ends the training.
_MIN_VARIANCE = 1.0 / (12 * 255**2)


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes:
        latent_dim: n.
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: The peak of the one-cycle schedule.
        beta: Weight of the KL term (Higgins et al. 2017). Neighbouring pixels say much the same,
            so the likelihood counts its evidence many times over; on 3,068 photos of clothes
            beta 10 instead of 1 raises the held-out squared error by 2 % and brings the spread
            of mu from 2.1 to 1.4, near the prior that sliders assume.
        base_channels: Width of the first convolution; the last has eight times as many.
        held_out: The fraction of images kept aside to measure the ELBO.
        patience: Stop when so many epochs in a row have not lowered the loss (with beta) on what is
            held out; the weights of the best epoch are kept. 0 goes on to the end, and keeps the
            last.
        seed: Seeds the split, the weights and the noise.
    """

    latent_dim: int = 10
    epochs: int = 15
    batch_size: int = 32
    learning_rate: float = 2e-3
    beta: float = 10.0
    base_channels: int = 24
    held_out: float = 0.1
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("latent_dim", "epochs", "batch_size", "learning_rate", "base_channels")
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; expected 0 or more, below 2^63.")
        if self.patience < 0:
            raise InputError(f"patience is {self.patience}; expected 0 or more epochs.")
        if not 0 <= self.beta < math.inf:
            raise InputError(f"beta is {self.beta}; expected 0 or more.")
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out is {self.held_out}; expected a fraction between 0 and 1.")


class Elbo(NamedTuple):
    """Terms of the evidence lower bound, means per image; ``elbo`` = -reconstruction - kl.

    Attributes:
        elbo: In nats.
        reconstruction: Negative log likelihood of the pixels, nats.
        kl: KL(q(z|x) ‖ N(0, I)), nats.
        squared_error: Mean squared error per pixel, pixels scaled as the network gets them.
    """

    elbo: float
    reconstruction: float
    kl: float
    squared_error: float


class Trained(NamedTuple):
    """What :func:`train` returns.

    Attributes:
        networks: The networks, on the CPU.
        manifest: Theirs, but for the weights' checksums.
        held_out: Their ELBO on what was held out.
        history: The same after each epoch.
        kept: The epoch, from 0, whose weights these are.
        test: Which pictures were held out.
        resumed: How many epochs were taken over from a checkpoint.
    """

    networks: Networks
    manifest: Manifest
    held_out: Elbo
    history: list[Elbo]
    kept: int
    test: NDArray[np.int64]
    resumed: int


class Processes(NamedTuple):
    """Which of how many processes this is, of those that train one model together."""

    rank: int = 0
    size: int = 1


@contextlib.contextmanager
def joined_processes(on_gpus: bool) -> Iterator[tuple[Processes, str]]:
    """Join the others that torchrun has started; give this one's number, and its device."""
    distributed.init_process_group("nccl" if on_gpus else "gloo")
    try:
        device = f"cuda:{os.environ['LOCAL_RANK']}" if on_gpus else "cpu"
        if on_gpus:
            torch.cuda.set_device(device)
        yield Processes(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()


class Checkpoints:
    """Where a training keeps what it has reached, after each epoch.

    Args:
        read: Returns what was written last, None if nothing.
        write: Keeps bytes in the place of what was there.
    """

    def __init__(self, read: Callable[[], bytes | None], write: Callable[[bytes], None]) -> None:
        self.read = read
        self.write = write


def train(
    pixels: NDArray[np.uint8],
    spec: ImageSpec,
    plan: TrainingPlan,
    *,
    checkpoints: Checkpoints | None = None,
    processes: Processes = Processes(),  # noqa: B008 - it is immutable
    device: str = "cpu",
) -> Trained:
    """Train a VAE: reconstruction + beta · KL.

    Pixels are Gaussian with one common variance, set at its maximum-likelihood value, the mean
    squared error (sigma-VAE, Rybkin et al. 2021): no weight to tune by hand for every image size.

    The model depends on the plan and the pictures alone, to within rounding: not on the number of
    processes, nor on whether the training was killed and went on from a checkpoint.

    Args:
        pixels: Pictures, shape (N, H, W, C) uint8; the same in each process.
        spec: What they are.
        plan: How to train.
        checkpoints: Where to go on from, and to keep what is reached; of the first process.
        processes: Of several, torch.distributed must have been initialised.
        device: Where this process computes, ``cpu`` or ``cuda:0``.

    Raises:
        InputError: Fewer images than a batch and those held out, a spec that ``conv_vae`` is not
            made for, a batch that the processes cannot share, or the training diverged.
    """
    if spec.scaling != "zero_one":
        raise InputError(
            f"scaling is {spec.scaling}; expected zero_one, because the decoder of conv_vae gives "
            "pixels between 0 and 1."
        )
    check_share(plan.batch_size, processes.size)
    shuffled = np.random.default_rng(plan.seed).permutation(len(pixels))
    held_out = _count_held_out(len(pixels), plan)
    test, rest = shuffled[:held_out], shuffled[held_out:]
    if len(rest) < plan.batch_size:
        enough = next(n for n in count() if n - _count_held_out(n, plan) >= plan.batch_size)
        raise InputError(
            f"{len(pixels)} images are too few to train on; expected at least {enough}, "
            "or a smaller batch_size."
        )
    run = _Run(pixels, rest, test, spec, plan, processes, device, checkpoints)
    run.go()
    networks = run.best_networks()
    elbo = run.elbo(networks)
    _, mu = evaluate(networks, pixels[rest], spec)
    if not math.isfinite(elbo.elbo):
        raise InputError(
            f"training diverged (ELBO {elbo.elbo}); try a learning_rate below "
            f"{plan.learning_rate:g}."
        )
    manifest = Manifest(
        architecture="conv_vae",
        arguments=_sizes(spec, plan),
        latent_dim=plan.latent_dim,
        image=spec,
        z_range=np.quantile(mu, [0.005, 0.995], axis=0).round(3).tolist(),
        training={
            "plan": vars(plan),
            "train_images": len(rest),
            "held_out_images": len(test),
            "epochs": len(run.history),
            "held_out": {key: round(value, 6) for key, value in elbo._asdict().items()},
        },
    )
    return Trained(networks, manifest, elbo, run.history, run.kept(), test, run.resumed)


def check_share(batch_size: int, processes: int) -> None:
    """Raise InputError unless the processes can share a batch evenly."""
    if processes < 1 or batch_size % processes:
        raise InputError(
            f"num_processes is {processes}; expected a divisor of the batch size, {batch_size}, so "
            "that the processes share each batch evenly."
        )


def _sizes(spec: ImageSpec, plan: TrainingPlan) -> dict[str, int]:
    return {
        "height": spec.height,
        "width": spec.width,
        "channels": spec.channels,
        "latent_dim": plan.latent_dim,
        "base_channels": plan.base_channels,
    }


def _count_held_out(images: int, plan: TrainingPlan) -> int:
    return max(1, round(plan.held_out * images))


class _Vae(nn.Module):
    """Both networks as one, for torch to see all their parameters."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.encoder, self.decoder = networks

    def forward(
        self,
        target: Tensor,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean squared error, the mean KL, and mu, of a batch (B, C, H, W)."""
        mu, log_var = self.encoder(target)
        if noise is None:
            noise = torch.randn(mu.shape, generator=generator).to(mu.device)
        z = mu + torch.exp(0.5 * log_var) * noise
        squared_error = nn.functional.mse_loss(self.decoder(z), target)
        # Appendix B of Kingma & Welling 2014.
        kl = 0.5 * (mu.square() + log_var.exp() - 1.0 - log_var).sum(dim=1).mean()
        return squared_error, kl, mu


class _Run:
    """A training under way.

    What is drawn at random depends on the seed and the epoch alone, and is drawn for the whole
    batch in each process, so that neither their number nor a break between two epochs shows.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        test: NDArray[np.int64],
        spec: ImageSpec,
        plan: TrainingPlan,
        processes: Processes,
        device: str,
        checkpoints: Checkpoints | None,
    ) -> None:
        self.pixels, self.rows, self.test = pixels, rows, test
        self.spec, self.plan, self.processes = spec, plan, processes
        self.device = torch.device(device)
        self.checkpoints = checkpoints
        self.history: list[Elbo] = []
        self.resumed = 0
        torch.manual_seed(plan.seed)
        self.vae = _Vae(Networks(*map(channels_last, _new_networks(spec, plan)))).to(self.device)
        self.steps = len(rows) // plan.batch_size
        self.optimizer = torch.optim.AdamW(self.vae.parameters(), plan.learning_rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.epochs * self.steps + 1
        )
        self.best = copy.deepcopy(self.vae.state_dict())
        self.is_first = processes.rank == 0

    def go(self) -> None:
        """Train, epoch after epoch."""
        self._resume()
        model: nn.Module = self.vae
        if self.processes.size > 1:
            model = nn.parallel.DistributedDataParallel(self.vae)
        bar = tqdm(
            total=self.plan.epochs * self.steps,
            initial=len(self.history) * self.steps,
            desc="training",
            unit="step",
            file=sys.stderr,
            disable=not self.is_first,
        )
        with bar:
            while len(self.history) < self.plan.epochs and not self._has_stalled():
                self._one_epoch(model, bar)
                self._look()
                bar.set_postfix(
                    epoch=f"{len(self.history)}/{self.plan.epochs}",
                    error=f"{self.history[-1].squared_error:.4f}",
                )
        if self.is_first and len(self.history) < self.plan.epochs:
            log.info(
                "stopped after epoch %d of %d: %d epochs have not lowered the held-out loss.",
                len(self.history),
                self.plan.epochs,
                self.plan.patience,
            )

    def best_networks(self) -> Networks:
        """Return the networks of the best epoch, on the CPU, for inference."""
        self.vae.load_state_dict(self.best)
        vae = self.vae.cpu()
        return Networks(vae.encoder, vae.decoder)

    def kept(self) -> int:
        """Return the epoch, from 0, whose weights are kept."""
        return self._best_epoch() if self.plan.patience else len(self.history) - 1

    def elbo(self, networks: Networks) -> Elbo:
        """Return the ELBO of what is held out, with the same noise each time."""
        generator = torch.Generator().manual_seed(self.plan.seed)
        return evaluate(networks, self.pixels[self.test], self.spec, generator)[0]

    def _one_epoch(self, model: nn.Module, bar: Any) -> None:
        plan, (rank, size) = self.plan, self.processes
        epoch = len(self.history)
        order = np.random.default_rng([plan.seed, epoch]).permutation(self.rows)
        seed = np.random.SeedSequence([plan.seed, epoch]).generate_state(1, np.uint32)[0]
        generator = torch.Generator().manual_seed(int(seed))
        for step in range(self.steps):
            batch = order[step * plan.batch_size : (step + 1) * plan.batch_size]
            noise = torch.randn(plan.batch_size, plan.latent_dim, generator=generator)
            target = _to_tensor(self.pixels[batch[rank::size]], self.spec).to(self.device)
            squared_error, kl, _ = model(target, noise[rank::size].to(self.device))
            # The gradient of ½ log(mean squared error), where the mean is that of all processes.
            # Per pixel, so that one learning rate serves all image sizes.
            scale = _mean_over(squared_error.detach(), size).clamp(min=_MIN_VARIANCE)
            loss = 0.5 * squared_error / scale + plan.beta * kl / target[0].numel()
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.vae.parameters(), _GRADIENT_NORM)
            self.optimizer.step()
            self.schedule.step()
            bar.update()

    def _look(self) -> None:
        """See what an epoch has brought, and keep it."""
        # One process says for all, lest they differ in the last digit and one of them stops alone.
        terms = torch.zeros(len(Elbo._fields), dtype=torch.float64)
        if self.is_first:
            terms = torch.tensor(self.elbo(Networks(*self.vae.children())), dtype=torch.float64)
        if self.processes.size > 1:
            terms = terms.to(self.device)
            distributed.broadcast(terms, 0)
        self.history.append(Elbo(*terms.tolist()))
        if self.kept() == len(self.history) - 1:
            self.best = copy.deepcopy(self.vae.state_dict())
        if self.is_first and self.checkpoints is not None:
            self._keep(self.checkpoints)

    def _objective(self, elbo: Elbo) -> float:
        found = elbo.reconstruction + self.plan.beta * elbo.kl
        return found if math.isfinite(found) else math.inf

    def _best_epoch(self) -> int:
        return int(np.argmin([self._objective(elbo) for elbo in self.history]))

    def _has_stalled(self) -> bool:
        if not self.history or self.plan.patience == 0:
            return False
        return len(self.history) - 1 - self._best_epoch() >= self.plan.patience

    def _key(self) -> str:
        """What a checkpoint is good for: this plan, on these pictures."""
        facts = json.dumps([vars(self.plan), self.spec.to_dict()], sort_keys=True)
        digest = hashlib.sha256(facts.encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    def _keep(self, checkpoints: Checkpoints) -> None:
        stream = io.BytesIO()
        torch.save(
            {
                "key": self._key(),
                "history": [list(elbo) for elbo in self.history],
                "weights": self.vae.state_dict(),
                "best": self.best,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
            },
            stream,
        )
        checkpoints.write(stream.getvalue())

    def _resume(self) -> None:
        data = self.checkpoints.read() if self.checkpoints is not None else None
        if data is None:
            return
        try:
            found = torch.load(io.BytesIO(data), map_location=self.device, weights_only=True)
            fits = found["key"] == self._key()
        except Exception as error:  # pickle can raise anything
            if self.is_first:
                log.warning("the checkpoint cannot be read, so training starts anew: %s", error)
            return
        if not fits:
            if self.is_first:
                log.info("the checkpoint is of other options or images; training starts anew.")
            return
        self.vae.load_state_dict(found["weights"])
        self.best = found["best"]
        self.optimizer.load_state_dict(found["optimizer"])
        self.schedule.load_state_dict(found["schedule"])
        self.history = [Elbo(*terms) for terms in found["history"]]
        self.resumed = len(self.history)
        if self.is_first:
            log.info("training goes on after epoch %d of %d.", self.resumed, self.plan.epochs)


def _new_networks(spec: ImageSpec, plan: TrainingPlan) -> Networks:
    return conv_vae(**_sizes(spec, plan))


def _mean_over(value: Tensor, processes: int) -> Tensor:
    if processes > 1:
        distributed.all_reduce(value)
        value /= processes
    return value


@torch.no_grad()
def evaluate(
    networks: Networks,
    pixels: NDArray[np.uint8],
    spec: ImageSpec,
    generator: torch.Generator | None = None,
) -> tuple[Elbo, NDArray[np.float32]]:
    """Return the ELBO over pictures (N, H, W, C), and their mu, shape (N, n).

    The noise is drawn with the generator, on the CPU; by default with torch's own.
    """
    vae = _Vae(networks)
    device = next(vae.parameters()).device
    errors, kls, mus, weights = [], [], [], []
    for start in range(0, len(pixels), 256):
        target = _to_tensor(pixels[start : start + 256], spec).to(device)
        squared_error, kl, mu = vae(target, generator=generator)
        errors.append(squared_error.item())
        kls.append(kl.item())
        mus.append(mu.cpu().numpy())
        weights.append(len(target))
    error = float(np.average(errors, weights=weights))
    kl_mean = float(np.average(kls, weights=weights))
    variance = max(error, _MIN_VARIANCE)
    reconstruction = 0.5 * pixels[0].size * (math.log(2 * math.pi * variance) + error / variance)
    return Elbo(-reconstruction - kl_mean, reconstruction, kl_mean, error), np.concatenate(mus)


@torch.inference_mode()
def reconstruct(trained: Trained, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what the decoder makes of the pictures' mu, both of shape (N, H, W, C)."""
    spec = trained.manifest.image
    mu, _ = trained.networks.encoder(_to_tensor(pixels, spec))
    return PixelScaler(spec).unscale(trained.networks.decoder(mu))


def _to_tensor(pixels: NDArray[np.uint8], spec: ImageSpec) -> Tensor:
    return PixelScaler(spec).scale_array(pixels)
