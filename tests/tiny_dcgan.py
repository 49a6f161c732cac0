"""The options of a DCGAN that is as small as can be."""

from experiments import dcgan_mnist


def tiny(tmp_path, **changes):
    options = {
        "steps": 12,
        "batch_size": 8,
        "dataset": "digits",
        "workdir": str(tmp_path / "run"),
        "checkpoint_every": 4,
    }
    options |= {"sample_every": 5, "image_size": 28, "features": 2, "latent_size": 8, "devices": 1}
    return dcgan_mnist.Options(**(options | changes))
