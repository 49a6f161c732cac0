"""Several processes and devices that make one run. It knows nothing of GANs."""
