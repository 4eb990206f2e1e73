"""VAEs as people write them, none of them for vaeudf; travels alone with --py-files."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributions, nn
from torch.nn import functional

SIDE, LATENT_DIM = 16, 3


class Body(nn.Module):
    """What all of them share: two heads on a small network, and a decoder."""

    def __init__(self, latent_dim: int = LATENT_DIM, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 4, 4, 4), nn.SiLU(), nn.Flatten())
        self.head = nn.Linear(64, latent_dim)
        self.spread = nn.Linear(64, latent_dim)
        self.dec = nn.Linear(latent_dim, channels * SIDE * SIDE)
        self.channels = channels

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.features(x)
        return 3 * self.head(h), self.spread(h) - 1.0

    def decode(self, z: Tensor) -> Any:
        return torch.sigmoid(self.dec(z)).unflatten(1, (self.channels, SIDE, SIDE))


class Pair(Body):
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs(x)


class AList(Body):
    def encode(self, x: Tensor) -> list[Tensor]:
        return list(self.outputs(x))


class KerasStyle(Body):
    """Keras's example: the encoder gives z_mean, z_log_var and a sample z."""

    def encode(self, x: Tensor) -> list[Tensor]:
        z_mean, z_log_var = self.outputs(x)
        return [z_mean, z_log_var, z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)]


class KerasNames(KerasStyle):
    def encode(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return dict(zip(("z_mean", "z_log_var", "z"), super().encode(x), strict=True))


class LogSigma(Body):
    def encode(self, x: Tensor) -> dict[str, Tensor]:
        mu, stated = self.outputs(x)
        return {"mu": mu, "log_sigma": stated}


class Sigma(Body):
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, stated = self.outputs(x)
        return mu, functional.softplus(stated)


class Answer(NamedTuple):
    mean: Tensor
    var: Tensor


class Named(Body):
    def encode(self, x: Tensor) -> Answer:
        mu, stated = self.outputs(x)
        return Answer(mu, stated.exp())


class ANormal(Body):
    def encode(self, x: Tensor) -> distributions.Distribution:
        mu, stated = self.outputs(x)
        return distributions.Normal(mu, functional.softplus(stated))


class AnIndependent(ANormal):
    def encode(self, x: Tensor) -> distributions.Distribution:
        return distributions.Independent(super().encode(x), 1)

    def decode(self, z: Tensor) -> distributions.Distribution:
        return distributions.Independent(distributions.Normal(super().decode(z), 0.1), 3)


class WithSample(ANormal):
    """(posterior, sample of it)"""

    def encode(self, x: Tensor) -> Any:
        posterior = super().encode(x)
        return posterior, posterior.rsample()


class Halves(Body):
    def encode(self, x: Tensor) -> Tensor:
        return torch.cat(self.outputs(x), dim=1)


class Attributes:
    def __init__(self, mu: Tensor, logvar: Tensor) -> None:
        self.mu, self.logvar = mu, logvar


class AnObject(Body):
    def encode(self, x: Tensor) -> Attributes:
        return Attributes(*self.outputs(x))


class ChannelLast(Body):
    """Pictures (B, H, W, C), latents (B, h, w, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, 4)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert x.shape[-1] == 3
        both = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return both[..., :2], both[..., 2:]

    def decode(self, z: Tensor) -> Tensor:
        assert z.shape[1:] == (4, 4, 2)
        return z.mean(dim=3, keepdim=True).repeat(1, 4, 4, 3)


class Encoder(Body):
    """An encoder alone, with logits for a decoder beside it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs(x)


class Logits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(LATENT_DIM, 3 * SIDE * SIDE)

    def forward(self, z: Tensor) -> tuple[Tensor, str]:
        return 4 * self.layer(z).unflatten(1, (3, SIDE, SIDE)), "more"


class Viewer(Body):
    """Takes a view, which tensors that are laid out channel-last do not have."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu = x.view(len(x), -1)[:, :LATENT_DIM]
        return mu, mu - 2


class Noisy(Body):
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return mu + torch.randn_like(mu), log_var


class SlightlyNoisy(Body):
    """A sample in the place of mu, of so small a sigma that it is nearly the same."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return mu + 1e-5 * torch.randn_like(mu), log_var - 22


class Swapped(Body):
    """(log_var, mu, more)"""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return log_var, mu, mu


class SwappedPair(Body):
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs(x)[::-1]  # type: ignore[return-value]


class OddlyNamed(Body):
    def encode(self, x: Tensor) -> dict[str, Tensor]:
        mu, log_var = self.outputs(x)
        return {"mu": mu, "spread": log_var}


class Mixed(Body):
    def encode(self, x: Tensor) -> distributions.Distribution:
        mu, stated = self.outputs(x)
        parts = distributions.Normal(torch.stack([mu, -mu], 2), stated.exp()[..., None])
        weights = distributions.Categorical(torch.ones(*mu.shape, 2))
        return distributions.MixtureSameFamily(weights, parts)


class Standardised(nn.Conv2d):
    """Weight standardisation, as people write it: by a view of the weights."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view(self.weight.size(0), -1)
        weight = (weight - weight.mean(1, keepdim=True)).view_as(self.weight)
        return functional.conv2d(x, weight, self.bias, self.stride)


class ViewsItsWeights(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.features[0] = Standardised(3, 4, 4, 4)


class WithVolumes(Pair):
    """Parameters with five axes, such as a decoder of volumes has."""

    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Conv3d(1, 1, 1)


class NotAllWeights(Pair):
    """Draws numbers of its own that it does not save."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(LATENT_DIM, LATENT_DIM)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return mu @ self.projection, log_var


class Changed(Pair):
    """Code that is changed after the export."""

    factor = 1.0

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return self.factor * mu, log_var


class Wide(Body):
    """Many latent dimensions."""

    def __init__(self) -> None:
        super().__init__(latent_dim=20_000)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs(x)


class NotANumber(Pair):
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return mu, log_var.where(x.mean((1, 2, 3), keepdim=False)[:, None] < 0.5, torch.nan)


class FailsOnDark(Pair):
    """Raises for pictures that are dark."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if (x.mean((1, 2, 3)) < 0.1).any():
            raise ValueError("too dark to see")
        return self.outputs(x)


class Echo(nn.Module):
    """Gives back black and white pictures, if they are scaled as it knows them."""

    def __init__(self, scaling: str) -> None:
        super().__init__()
        self.low = 0.0 if scaling == "zero_one" else -1.0
        self.layer = nn.Linear(1, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu = (x.flatten(1) > self.low + 0.25).float()
        return mu, mu - 1.0

    def decode(self, z: Tensor) -> Tensor:
        return torch.lerp(torch.full_like(z, self.low), torch.ones_like(z), z).unflatten(
            1, (3, SIDE, SIDE)
        )


class Neighbourly(Body):
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return mu - mu.mean(dim=0), log_var


class Isotropic(Body):
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return mu, log_var[:, :1]


class Full(Body):
    def encode(self, x: Tensor) -> distributions.Distribution:
        mu, stated = self.outputs(x)
        return distributions.MultivariateNormal(mu, scale_tril=torch.diag_embed(stated.exp()))


class Flow(Body):
    def encode(self, x: Tensor) -> distributions.Distribution:
        mu, stated = self.outputs(x)
        base = distributions.Independent(distributions.Normal(mu, stated.exp()), 1)
        return distributions.TransformedDistribution(base, distributions.TanhTransform())


class Laplace(Body):
    def encode(self, x: Tensor) -> distributions.Distribution:
        mu, stated = self.outputs(x)
        return distributions.Laplace(mu, stated.exp())


class Concentrated(Body):
    def encode(self, x: Tensor) -> dict[str, Tensor]:
        mu, stated = self.outputs(x)
        return {"mu": mu, "log_concentration": stated}


class VonMisesFisher(distributions.Distribution):
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc: Tensor) -> None:
        super().__init__(loc.shape[:1], loc.shape[1:], validate_args=False)


class Sphere(Body):
    def encode(self, x: Tensor) -> distributions.Distribution:
        return VonMisesFisher(self.outputs(x)[0])


class Point(Body):
    def encode(self, x: Tensor) -> Tensor:
        return self.outputs(x)[0]


class Odd(Body):
    """Decodes to something that is no picture."""

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z)[:, :700]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs(x)


class Normed(Pair):
    """With a batch norm, whose count of batches is no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten()
        )


class Lazy(Pair):
    """Gets its shapes from the first pictures that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.LazyConv2d(4, 4, 4), nn.LazyBatchNorm2d(), nn.SiLU(), nn.Flatten()
        )
        self.head = nn.LazyLinear(LATENT_DIM)


class Flat(nn.Module):
    """PyTorch's example of a VAE: encode takes what forward has flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc3 = nn.Linear(SIDE * SIDE, 20), nn.Linear(LATENT_DIM, SIDE * SIDE)
        self.fc21, self.fc22 = nn.Linear(20, LATENT_DIM), nn.Linear(20, LATENT_DIM)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = functional.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.fc3(z))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x.view(-1, SIDE * SIDE))
        return self.decode(mu), mu, logvar


class GreyWithoutAxis(Flat):
    """Gives pictures (B, H, W)."""

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z).reshape(-1, SIDE, SIDE)


class InForward(Body):
    """Features from a part called encoder; the posterior is made in forward alone."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.features

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        h = self.encoder(x)
        mu, log_var = self.head(h), self.spread(h)
        z = mu + (0.5 * log_var).exp() * torch.randn_like(mu)
        return self.decode(z), mu, log_var


class WithInput(InForward):
    """[reconstruction, input, mu, log_var], as collections of VAEs give it."""

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        reconstruction, mu, log_var = super().forward(x)
        return [reconstruction, x, mu, log_var]


class WithLoss(InForward):
    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        _, mu, log_var = super().forward(x)
        return {"mu": mu, "logvar": log_var, "loss": mu.mean()}


class WithSampleInForward(InForward):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        reconstruction, mu, log_var = super().forward(x)
        return reconstruction, torch.zeros(len(x), 7), mu, log_var


class HalvesInForward(InForward):
    """One tensor of both, which forward takes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2 * LATENT_DIM))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        return self.decode(mu), mu, log_var


class Conditional(Body):
    """Encodes and decodes with a label."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, LATENT_DIM)

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.outputs(x)
        return mu + self.embedding(y), log_var

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        return super().decode(z - self.embedding(y))  # type: ignore[no-any-return]


class ConditionalByDefault(Conditional):
    """Its label has a default, without which it does not go."""

    def encode(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().encode(x, labels)  # type: ignore[arg-type]

    def decode(self, z: Tensor) -> Tensor:  # type: ignore[override]
        return Body.decode(self, z)  # type: ignore[no-any-return]


class ConditionalInForward(Body):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        mu, log_var = self.outputs(x)
        return self.decode(mu), mu + y[:, None], log_var


def make(kind: str = "Pair", **arguments: Any) -> nn.Module:
    model: nn.Module = globals()[kind](**arguments)
    return model


def two(as_tuple: bool = True) -> Any:
    parts = (Encoder(), Logits())
    return parts if as_tuple else {"encoder": parts[0], "decoder": parts[1]}


def three() -> Any:
    return Encoder(), Logits(), 5


def fails() -> nn.Module:
    raise RuntimeError("no such size")


NOT_CALLABLE = 5


def tied() -> nn.Module:
    """Two layers with the same weights."""
    model = Pair()
    model.spread.weight = model.head.weight
    return model
