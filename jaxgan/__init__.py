"""jaxgan: generative adversarial networks in JAX. This is the pure core; see README.md for the rest."""

from jaxgan import (
    augment,
    auxiliary,
    ensemble,
    losses,
    networks,
    parallel,
    penalties,
    regularizers,
    samplers,
    state,
    steps,
    terms,
)
from jaxgan.ensemble import Ensemble
from jaxgan.losses import AdversarialLoss
from jaxgan.samplers import latents
from jaxgan.state import GANState, TrainState, init_player
from jaxgan.steps import Step, iteration, make_d_step, make_g_step, make_joint_step, repeat
from jaxgan.terms import Term, View, d_loss, every, g_loss

__version__ = "0.1.0"

__all__ = [
    "AdversarialLoss",
    "Ensemble",
    "GANState",
    "Step",
    "Term",
    "TrainState",
    "View",
    "augment",
    "auxiliary",
    "d_loss",
    "ensemble",
    "every",
    "g_loss",
    "init_player",
    "iteration",
    "latents",
    "losses",
    "make_d_step",
    "make_g_step",
    "make_joint_step",
    "networks",
    "parallel",
    "penalties",
    "regularizers",
    "repeat",
    "samplers",
    "state",
    "steps",
    "terms",
]
