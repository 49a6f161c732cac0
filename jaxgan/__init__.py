"""jaxgan: generative adversarial networks in JAX. This is the pure core; see README.md for the rest."""

import importlib
from types import ModuleType

from jaxgan import (
    ada,
    adversarial,
    augment,
    degrade,
    diffaugment,
    ensemble,
    losses,
    networks,
    parallel,
    penalties,
    players,
    samplers,
    schedules,
    state,
    terms,
)
from jaxgan.adversarial import make_d_step, make_g_step, make_joint_step
from jaxgan.balance import adaptive_weight
from jaxgan.draw import Draw
from jaxgan.ema import ema
from jaxgan.ensemble import Ensemble
from jaxgan.history import empty_history, history
from jaxgan.iteration import Step, iteration, repeat
from jaxgan.joint import joint
from jaxgan.losses import AdversarialLoss
from jaxgan.phases import phases
from jaxgan.players import Frozen, callable_player, init_player, init_players, nnx_player, plain_player
from jaxgan.samplers import latents
from jaxgan.state import GANState, TrainState
from jaxgan.terms import Term, View, auxiliary, d_loss, every, g_loss, regularizers
from jaxgan.update import Outcome, Update, update

__version__ = "0.2.0"


def __getattr__(name: str) -> ModuleType:
    """Imports `jaxgan.training` and the other packages of the host side when they are first used."""
    if name in ("data", "evaluation", "media", "training"):
        return importlib.import_module(f"jaxgan.{name}")
    raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")


__all__ = [
    "AdversarialLoss",
    "Draw",
    "Ensemble",
    "Frozen",
    "GANState",
    "Outcome",
    "Step",
    "Term",
    "TrainState",
    "Update",
    "View",
    "ada",
    "adaptive_weight",
    "adversarial",
    "augment",
    "auxiliary",
    "callable_player",
    "d_loss",
    "degrade",
    "diffaugment",
    "ema",
    "empty_history",
    "ensemble",
    "every",
    "g_loss",
    "history",
    "init_player",
    "init_players",
    "iteration",
    "joint",
    "latents",
    "losses",
    "make_d_step",
    "make_g_step",
    "make_joint_step",
    "networks",
    "nnx_player",
    "parallel",
    "penalties",
    "phases",
    "plain_player",
    "players",
    "regularizers",
    "repeat",
    "samplers",
    "schedules",
    "state",
    "terms",
    "update",
]
