"""The options that every experiment has, as dataclasses, what follows from an option alone, and which of them a
continued run may change. It knows no GAN."""
