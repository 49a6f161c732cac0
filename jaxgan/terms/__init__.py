"""Terms, of which a player's objective is the weighted sum: one family a file. What a game of another shape needs is in
its own objectives, not here."""

from jaxgan.terms import auxiliary, regularizers
from jaxgan.terms.adversarial import d_loss, g_loss, unrolled
from jaxgan.terms.penalties import dragan, r1, r2, wgan_gp
from jaxgan.terms.term import Example, Term, View, every, initial_extras

__all__ = [
    "Example",
    "Term",
    "View",
    "auxiliary",
    "d_loss",
    "dragan",
    "every",
    "g_loss",
    "initial_extras",
    "r1",
    "r2",
    "regularizers",
    "unrolled",
    "wgan_gp",
]
