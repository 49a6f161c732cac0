"""Terms, whose weighted sum is a player's objective: one family a file. Games of another shape have objectives of their
own and need no terms."""

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
