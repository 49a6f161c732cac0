"""VAE-GAN on MNIST, beside a VAE and a GAN of the same networks. Larsen et al. 2016, https://arxiv.org/abs/1512.09300

What it should reach: digits drawn from the prior, at a Fréchet distance (mnist-v1) of 11.7, where the VAE has 58.6 and
the GAN 6.1 after as many steps (seed 0). The VAE reconstructs better, by pixels and by features.

    python -m experiments.vaegan_mnist
    python -m experiments.vaegan_mnist --game vae
    python -m experiments.vaegan_mnist --game gan
    python -m scripts.evaluate RUN      # Fréchet distance of what is drawn, and the error of reconstructions

takes 13 minutes of one core of an AMD EPYC, --game vae 3 and --game gan 5. The
decoder is DCGAN's generator, discriminator and encoder DCGAN's discriminator, the latter with a head of mean and
log-variance. Encoder and decoder of a VAE (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114) maximise the ELBO,
with pixels from a Gaussian of the fixed --deviation around the decoder's. In the VAE-GAN the likelihood is that of the
discriminator's last features, a Gaussian of deviation 1 (equation 7); D tells images from both reconstructions and what
is drawn from the prior, and the decoder's sum of likelihood and adversarial loss is weighted by --likelihood, the
paper's γ (algorithm 1). The paper has RMSprop, and its D is compared at a layer of its choice. Drawn are `image`, from
the prior, and the `reconstruction` of a held-out image, its `target`, from the mean of its code.

--preset paper has the paper's batch and 128 latents, for faces of 64 pixels (--dataset folder:PATH); nobody has run it
here, and its time and memory are not measured.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from experiments import dcgan_mnist
from jaxgan import GANState, Step, init_players, iteration, joint, latents, update
from jaxgan.losses import non_saturating
from jaxgan.networks.dcgan import Discriminator, Generator
from jaxgan.networks.heads import Gaussian
from jaxgan.schedules import rates
from jaxgan.training import GAN, DataSpec, latents_with, main, sample_through
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import hyper, optimizer, schedule
from jaxgan.training.recipe.compose import with_lookahead
from jaxgan.training.recipe.gan import Weights
from jaxgan.update import Update

Images = Mapping[str, jax.Array]
AUTOENCODER = ("encoder", "decoder")
PLAYERS = {"vaegan": (*AUTOENCODER, "discriminator"), "vae": AUTOENCODER, "gan": ("decoder", "discriminator")}


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    steps: int = 3000
    latent_size: int = bounded(32, at_least=1)
    features: int = bounded(32, at_least=1)
    game: Literal["vaegan", "vae", "gan"] = "vaegan"
    """The VAE-GAN, or one of the two that it is made of: a VAE without a discriminator, a GAN without an encoder."""
    likelihood: float = bounded(1e-3, at_least=0, below=math.inf)
    """The weight of the likelihood beside the decoder's adversarial loss, `likelihood` for --sweep."""
    deviation: float = bounded(0.2, above=0, below=math.inf)
    """The standard deviation of the VAE's pixels around the decoder's; black and white are 2 apart."""

    PRESETS: ClassVar = {
        "paper": {"steps": 40_000, "image_size": 64, "fit": "crop", "latent_size": 128, "features": 64},
        "smoke": dcgan_mnist.Options.PRESETS["smoke"],
    }


class Encoder(Discriminator):
    """DCGAN's discriminator, with another head."""


def divergence(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """Returns KL(N(mean, variance) || N(0, I)) of codes `[B, L]`, `[B]` in nats; Kingma & Welling 2014, appendix B."""
    return 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, axis=1)


def surprise(x: jax.Array, mean: jax.Array, deviation: float = 1.0) -> jax.Array:
    """Returns -log N(x | mean, deviation² I) of `[B, ...]`, `[B]` in nats."""
    numbers = x[0].size
    squares = jnp.sum((x - mean) ** 2, axis=range(1, x.ndim))
    return 0.5 * squares / deviation**2 + numbers * (math.log(deviation) + 0.5 * math.log(2 * math.pi))


def encoded(nets: Any, batch: Images, draw: Any, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns mean and log-variance of the images' codes, and a code of each, all `[B, size]`."""
    found = nets["encoder"](batch["image"])
    noise = draw.normal("posterior", size)
    return found["mean"], found["log_variance"], found["mean"] + jnp.exp(0.5 * found["log_variance"]) * noise


def elbo(options: Options) -> Callable[..., Any]:
    """Returns the objective of a VAE, the two parts of the negative ELBO."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState) -> dict[str, jax.Array]:
        mean, log_variance, code = encoded(nets, batch, draw, options.latent_size)
        back = nets["decoder"](code)
        return {
            "prior": divergence(mean, log_variance),
            "likelihood": surprise(batch["image"], back, options.deviation),
        }

    return objective


def fakes(options: Options) -> Callable[..., Images]:
    """Returns what makes the images that D is shown beside real ones, from the prior and in a VAE-GAN of codes too."""

    def make(nets: Any, batch: Images, draw: Any, state: GANState) -> Images:
        made = {"prior": nets["decoder"](draw.normal("prior", options.latent_size))}
        if options.game == "vaegan":
            made["reconstruction"] = nets["decoder"](encoded(nets, batch, draw, options.latent_size)[2])
        return made

    return make


def discriminator(nets: Any, batch: Images, draw: Any, state: GANState, made: Images) -> dict[str, Any]:
    """D's objective, on what `fakes` made."""
    real = nets["discriminator"](batch["image"])["logits"]
    logits = [nets["discriminator"](fake)["logits"] for fake in made.values()]
    return {"adversarial": sum(non_saturating.d(real, fake) for fake in logits) / len(logits)}


def decoder(nets: Any, batch: Images, draw: Any, state: GANState, made: Images) -> dict[str, Any]:
    """The decoder's objective, on what `fakes` made."""
    seen = {name: nets["discriminator"](fake) for name, fake in made.items()}
    losses = {"adversarial": sum(non_saturating.g(each["logits"]) for each in seen.values()) / len(seen)}
    if "reconstruction" in seen:
        features = nets["discriminator"](batch["image"])["features"]
        losses["likelihood"] = surprise(features, seen["reconstruction"]["features"])
    return losses


def encoder(options: Options) -> Callable[..., Any]:
    """Returns the encoder's objective in a VAE-GAN: no gradient of the adversarial loss reaches it."""

    def objective(nets: Any, batch: Images, draw: Any, state: GANState) -> dict[str, jax.Array]:
        mean, log_variance, code = encoded(nets, batch, draw, options.latent_size)
        back = nets["decoder"](code)
        features = (nets["discriminator"](image)["features"] for image in (batch["image"], back))
        return {"prior": divergence(mean, log_variance), "likelihood": surprise(*features)}

    return objective


def make_iteration(options: Options, *, axis_name: str | None = None) -> Step:
    """Returns the iteration of the game's players, D first."""
    factor = schedule(options)

    def of(players: str | tuple[str, ...], objective: Callable[..., Any], **how: Any) -> Update:
        schedules = rates(factor, *((players,) if isinstance(players, str) else players))
        common: dict[str, Any] = {"schedules": schedules, "accumulate": options.accumulate, "axis_name": axis_name}
        return update(players, objective, **common, **how)

    if options.game == "vae":
        return iteration(of(AUTOENCODER, elbo(options)))
    make = fakes(options)
    weights = {"likelihood": "likelihood"} if options.game == "vaegan" else {}
    first, second = of("discriminator", discriminator, make=make), of("decoder", decoder, make=make, weights=weights)
    both = [joint(first, second)] if options.accumulate == 1 else [first, second]
    return iteration(*both, *([of("encoder", encoder(options))] if options.game == "vaegan" else []))


def build(options: Options, data: DataSpec) -> GAN:
    dtype = options.compute_dtype
    modules = {
        "encoder": Encoder(options.features, dtype, head=Gaussian(options.latent_size)),
        "decoder": Generator(data.size, data.channels, options.features, dtype),
        "discriminator": Discriminator(options.discriminator_features or options.features, dtype),
    }
    modules = {name: modules[name] for name in PLAYERS[options.game]}
    tx = optimizer(options)

    def init(key: jax.Array) -> GANState:
        image = jnp.zeros((1, *data.shape))
        inputs = {name: [jnp.zeros((1, options.latent_size)) if name == "decoder" else image] for name in modules}
        averaged = [name for name in AUTOENCODER if name in modules]
        numbers = hyper(options, averaged, [name for name in modules if name not in averaged])
        numbers |= {"likelihood": options.likelihood} if options.game == "vaegan" else {}
        return GANState.of(key, init_players(key, modules, tx, inputs), averaged=averaged, hyper=numbers)

    def decoded(state: GANState, inputs: Images, *, weights: Weights = "ema") -> jax.Array:
        images: jax.Array = state.evaluate("decoder", inputs["latent"], weights=weights)
        return images

    space = latents_with(latents(options.latent_size), options.latent_size, generate=decoded)

    def reconstructed(state: GANState, examples: Images, *, weights: Weights = "ema") -> dict[str, jax.Array]:
        code = state.evaluate("encoder", examples["image"], weights=weights)["mean"]
        back = state.evaluate("decoder", code, weights=weights)
        return {"reconstruction": back, "target": examples["image"]}

    pairs = {"reconstruction": "target"} if "encoder" in modules else {}
    sample = sample_through(space, reconstructed if "encoder" in modules else None)
    gan = GAN(init, make_iteration(options), options.batch_size, sample, pairs, latents=space)
    return with_lookahead(options, gan)


if __name__ == "__main__":
    main(Options, build)
