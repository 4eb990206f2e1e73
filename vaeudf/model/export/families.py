"""Families of models that are refused, because their posterior is not a diagonal Gaussian."""

from __future__ import annotations

import re

from torch import nn

from vaeudf.errors import BundleError

FLOW = "its posterior is a Gaussian sent through a normalizing flow, which is no Gaussian any more"
HAMILTONIAN = "its posterior is a Gaussian moved by Hamiltonian steps, which is no Gaussian"
DISCRETE = "it is vector-quantized: its latents are codes, with no density"
DETERMINISTIC = "its encoder is deterministic: it gives a point and no posterior"
SPHERE = "its posterior is a von Mises–Fisher on a sphere, not a diagonal Gaussian"
HYPERBOLIC = "its posterior lies in hyperbolic space, where a diagonal Gaussian has no meaning"

# Classes of a model or of its parts: package, class (or * for all of them), reason.
_REFUSED: tuple[tuple[str, str, str], ...] = (
    ("pythae", "VAE_IAF", FLOW),
    ("pythae", "VAE_LinNF", FLOW),
    ("pythae", "HVAE", HAMILTONIAN),
    ("pythae", "RHVAE", HAMILTONIAN),
    ("pythae", "VQVAE", DISCRETE),
    ("pythae", "AE", DETERMINISTIC),
    ("pythae", "RAE_GP", DETERMINISTIC),
    ("pythae", "RAE_L2", DETERMINISTIC),
    ("pythae", "WAE_MMD", DETERMINISTIC),
    ("pythae", "SVAE", SPHERE),
    ("pythae", "PoincareVAE", HYPERBOLIC),
    ("diffusers", "VQModel", DISCRETE),
    ("diffusers", "AutoencoderTiny", DETERMINISTIC),
    ("diffusers", "AutoencoderDC", DETERMINISTIC),
    ("nflows", "*", FLOW),
    ("normflows", "*", FLOW),
    ("zuko", "*", FLOW),
    ("geoopt", "*", HYPERBOLIC),
    ("hyperspherical_vae", "*", SPHERE),
    ("vector_quantize_pytorch", "*", DISCRETE),
)

# Parts that do not change the posterior: a flow may well be the prior.
_OTHER_PARTS = re.compile(r"(?:.*[._])?(?:prior|decoder|discriminator)", re.IGNORECASE)


def check_family(model: nn.Module) -> None:
    """Refuse models of families that are known to have no diagonal Gaussian.

    Raises:
        BundleError: It is one of these; says which and why.
    """
    for path, part in model.named_modules():
        if _OTHER_PARTS.match(path):
            continue
        for kind in type(part).__mro__:
            package = kind.__module__.split(".")[0]
            for known, name, reason in _REFUSED:
                if package == known and name in ("*", kind.__name__):
                    raise BundleError(
                        f"{kind.__module__}.{kind.__qualname__} cannot be exported: {reason}. "
                        "vaeudf is exact for diagonal Gaussians q(z|x) = N(mu, diag sigma²), and "
                        "for nothing else."
                    )
