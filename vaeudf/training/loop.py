"""Train the reference VAE on pictures held in memory, in one process or in several at once."""

from __future__ import annotations

import copy
import logging
import math
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.likelihood import MIN_VARIANCE
from vaeudf.model.manifest import Manifest
from vaeudf.model.networks import Networks, channels_last
from vaeudf.model.pixels import PixelScaler
from vaeudf.training.checkpoints import Checkpoints, Reached, training_key, unpack
from vaeudf.training.elbo import Elbo, Vae, evaluate, posterior_means
from vaeudf.training.plan import TrainingPlan, check_share
from vaeudf.training.processes import Processes
from vaeudf.training.progress import Progress, training_progress

log = logging.getLogger(__name__)

_GRADIENT_NORM = 1.0


class Trained(NamedTuple):
    """What :func:`train` returns.

    Attributes:
        networks: The networks, on the CPU.
        manifest: Of the networks, but for the checksums of the weights.
        held_out: The ELBO of the networks on the pictures that were held out.
        history: The same after each epoch.
        kept_epoch: The epoch, from 0, whose weights these are.
        held_out_rows: Which pictures were held out.
        resumed_epochs: How many epochs were taken over from a checkpoint.
    """

    networks: Networks
    manifest: Manifest
    held_out: Elbo
    history: list[Elbo]
    kept_epoch: int
    held_out_rows: NDArray[np.int64]
    resumed_epochs: int


def train(
    pixels: NDArray[np.uint8],
    spec: ImageSpec,
    plan: TrainingPlan,
    *,
    checkpoints: Checkpoints | None = None,
    processes: Processes = Processes(),  # noqa: B008 - it is immutable
    device: str = "cpu",
) -> Trained:
    """Train a VAE: reconstruction (:mod:`vaeudf.training.elbo`) + beta · KL.

    The model depends on the plan and the pictures alone, to within rounding: not on the number of
    processes, nor on whether the training was killed and went on from a checkpoint.

    Args:
        pixels: Pictures, shape (N, H, W, C) uint8; the same in each process.
        spec: Their shape and scaling.
        plan: How to train.
        checkpoints: Where to go on from, and where the first process keeps what is reached.
        processes: This process among those that train the model.
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
    held_out_rows, rows = plan.split(len(pixels))
    run = _Run(
        pixels,
        spec,
        plan,
        rows=rows,
        held_out_rows=held_out_rows,
        checkpoints=checkpoints,
        processes=processes,
        device=device,
    )
    run.go()
    networks = run.kept_networks()
    elbo = run.held_out_elbo(networks)
    if not math.isfinite(elbo.elbo):
        raise InputError(
            f"training diverged (ELBO {elbo.elbo}); try a learning_rate below "
            f"{plan.learning_rate:g}."
        )
    mu = posterior_means(networks.encoder, pixels, rows, spec)
    manifest = Manifest(
        architecture="conv_vae",
        arguments=_sizes(spec, plan),
        latent_dim=plan.latent_dim,
        image=spec,
        z_range=np.quantile(mu, [0.005, 0.995], axis=0).round(3).tolist(),
        training={
            "plan": asdict(plan),
            "train_images": len(rows),
            "held_out_images": len(held_out_rows),
            "epochs": len(run.history),
            "held_out": {key: round(value, 6) for key, value in elbo._asdict().items()},
        },
        likelihood=elbo.likelihood,
    )
    return Trained(
        networks=networks,
        manifest=manifest,
        held_out=elbo,
        history=run.history,
        kept_epoch=run.kept_epoch(),
        held_out_rows=held_out_rows,
        resumed_epochs=run.resumed_epochs,
    )


@torch.inference_mode()
def reconstruct(trained: Trained, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what the decoder makes of the pictures' mu, both of shape (N, H, W, C)."""
    scaler = PixelScaler(trained.manifest.image)
    mu, _ = trained.networks.encoder(scaler.scale_array(pixels))
    return scaler.unscale(trained.networks.decoder(mu))


class _Run:
    """A training under way.

    Random numbers depend on the seed and the epoch alone, and each process draws them for the whole
    batch. So neither the number of processes nor a break between two epochs changes the model.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        spec: ImageSpec,
        plan: TrainingPlan,
        *,
        rows: NDArray[np.int64],
        held_out_rows: NDArray[np.int64],
        checkpoints: Checkpoints | None,
        processes: Processes,
        device: str,
    ) -> None:
        self.pixels, self.rows, self.held_out_rows = pixels, rows, held_out_rows
        self.spec, self.plan, self.processes = spec, plan, processes
        self.scaler = PixelScaler(spec)
        self.device = torch.device(device)
        self.checkpoints = checkpoints
        self.history: list[Elbo] = []
        self.resumed_epochs = 0
        torch.manual_seed(plan.seed)
        networks = conv_vae(**_sizes(spec, plan))
        self.vae = channels_last(Vae(networks)).to(self.device)
        self.steps = len(rows) // plan.batch_size
        self.optimizer = torch.optim.AdamW(self.vae.parameters(), plan.learning_rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.epochs * self.steps + 1
        )
        self.best = copy.deepcopy(self.vae.state_dict())

    def go(self) -> None:
        """Train, epoch after epoch."""
        self._resume()
        model: nn.Module = self.vae
        if self.processes.size > 1:
            model = nn.parallel.DistributedDataParallel(self.vae)
        done, total = len(self.history) * self.steps, self.plan.epochs * self.steps
        shown = training_progress(done, total) if self.processes.is_first else nullcontext()
        with shown as progress:
            while len(self.history) < self.plan.epochs and not self._has_stalled():
                self._train_epoch(model, progress)
                self._end_epoch()
                if progress is not None:
                    error = self.history[-1].squared_error
                    progress.end_epoch(len(self.history), self.plan.epochs, error)
        if self.processes.is_first and len(self.history) < self.plan.epochs:
            log.info(
                "stopped after epoch %d of %d: %d epochs have not lowered the held-out loss.",
                len(self.history),
                self.plan.epochs,
                self.plan.patience,
            )

    def kept_networks(self) -> Networks:
        """Return the networks of the epoch that is kept, on the CPU."""
        self.vae.load_state_dict(self.best)
        return self.vae.cpu().networks

    def kept_epoch(self) -> int:
        """Return the epoch, from 0, whose weights are kept."""
        return self._best_epoch() if self.plan.patience else len(self.history) - 1

    def held_out_elbo(self, networks: Networks) -> Elbo:
        """Return the ELBO of the pictures that are held out, with the same noise each time."""
        pixels, plan = self.pixels[self.held_out_rows], self.plan
        return evaluate(networks, pixels, self.spec, latent_dim=plan.latent_dim, seed=plan.seed)

    def _train_epoch(self, model: nn.Module, progress: Progress | None) -> None:
        plan, (rank, size) = self.plan, self.processes
        epoch = len(self.history)
        order = np.random.default_rng([plan.seed, epoch]).permutation(self.rows)
        seed = np.random.SeedSequence([plan.seed, epoch]).generate_state(1, np.uint32)[0]
        generator = torch.Generator().manual_seed(int(seed))
        for step in range(self.steps):
            batch = order[step * plan.batch_size : (step + 1) * plan.batch_size]
            noise = torch.randn(plan.batch_size, plan.latent_dim, generator=generator)
            target = self.scaler.scale_array(self.pixels[batch[rank::size]]).to(self.device)
            squared_error, kl = model(target, noise[rank::size].to(self.device))
            # The gradient of ½ log(mean squared error), where the mean is that of all processes.
            # Per pixel, so that one learning rate serves all image sizes.
            scale = self.processes.mean(squared_error.detach()).clamp(min=MIN_VARIANCE)
            loss = 0.5 * squared_error / scale + plan.beta * kl / target[0].numel()
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.vae.parameters(), _GRADIENT_NORM)
            self.optimizer.step()
            self.schedule.step()
            if progress is not None:
                progress.step()

    def _end_epoch(self) -> None:
        """Measure the held-out ELBO, and keep what the epoch has reached."""
        terms = torch.zeros(len(Elbo._fields), dtype=torch.float64)
        if self.processes.is_first:
            terms = torch.tensor(self.held_out_elbo(self.vae.networks), dtype=torch.float64)
        # One process measures for all: if they differed in the last digit, one might stop alone.
        terms = self.processes.of_first(terms.to(self.device))
        self.history.append(Elbo(*terms.tolist()))
        if self.kept_epoch() == len(self.history) - 1:
            self.best = copy.deepcopy(self.vae.state_dict())
        if self.processes.is_first and self.checkpoints is not None:
            self.checkpoints.write(self._reached().pack(self._key))

    def _objective(self, elbo: Elbo) -> float:
        found = elbo.reconstruction + self.plan.beta * elbo.kl
        return found if math.isfinite(found) else math.inf

    def _best_epoch(self) -> int:
        return int(np.argmin([self._objective(elbo) for elbo in self.history]))

    def _has_stalled(self) -> bool:
        if not self.history or self.plan.patience == 0:
            return False
        return len(self.history) - 1 - self._best_epoch() >= self.plan.patience

    @cached_property
    def _key(self) -> str:
        return training_key(self.plan, self.spec, self.pixels)

    def _reached(self) -> Reached:
        return Reached(
            history=self.history,
            weights=self.vae.state_dict(),
            best=self.best,
            optimizer=self.optimizer.state_dict(),
            schedule=self.schedule.state_dict(),
        )

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one of this training."""
        data = None if self.checkpoints is None else self.checkpoints.read()
        if data is None:
            return
        tell = self.processes.is_first
        reached = unpack(data, self._key, self.device, tell=tell)
        if reached is None:
            return
        self.vae.load_state_dict(reached.weights)
        self.best = reached.best
        self.optimizer.load_state_dict(reached.optimizer)
        self.schedule.load_state_dict(reached.schedule)
        self.history = reached.history
        self.resumed_epochs = len(self.history)
        if tell:
            log.info("training goes on after epoch %d of %d.", len(self.history), self.plan.epochs)


def _sizes(spec: ImageSpec, plan: TrainingPlan) -> dict[str, int]:
    return {
        "height": spec.height,
        "width": spec.width,
        "channels": spec.channels,
        "latent_dim": plan.latent_dim,
        "base_channels": plan.base_channels,
    }
