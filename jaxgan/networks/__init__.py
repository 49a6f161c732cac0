"""Generators and discriminators as Linen modules, one family a file."""

from jaxgan.networks import dcgan, layers

__all__ = ["dcgan", "layers"]
