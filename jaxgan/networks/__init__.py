"""Generators and discriminators as Linen modules, one family a file."""

from jaxgan.networks import conditional, dcgan, heads, layers, minibatch, mlp, resnet

__all__ = ["conditional", "dcgan", "heads", "layers", "minibatch", "mlp", "resnet"]
