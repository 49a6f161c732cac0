"""The options that every experiment has, as dataclasses, and what follows from an option alone. It knows no GAN."""
