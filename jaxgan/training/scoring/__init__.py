"""Scores of a run: on the way and after it, of one GAN or of members. The arithmetic is in `jaxgan.evaluation`."""
