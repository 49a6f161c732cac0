"""ADA and DiffAugment as options of experiments: what is in a state, what is refused."""

import jax
import numpy as np
import pytest

from experiments import ada_digits, diffaugment_cifar10
from jaxgan import ada, losses
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.loading import load

pytestmark = pytest.mark.usefixtures("as_users_have_it")
SMOKE = ["--preset", "smoke", "--devices", "1"]


@pytest.mark.parametrize("module", [ada_digits, diffaugment_cifar10], ids=lambda module: module.__name__)
@pytest.mark.parametrize("augment", ["none", "ada", "diffaugment"])
def test_a_state_has_what_the_augmentation_follows(module, augment):
    options = parse(module.Options, [*SMOKE, "--augment", augment])
    state = jax.eval_shape(
        module.build(options, DataSpec.of(load(options), options.crop_shape)).init, jax.random.key(0)
    )
    assert ("ada" in state.extras) == (augment == "ada")
    assert ("strength" in state.hyper) == (augment == "diffaugment")
    assert state.discriminator.across == (), "the sign of a logit depends on its own image alone"


@pytest.mark.parametrize("loss", ["wasserstein", "least_squares"])
@pytest.mark.parametrize("module", [ada_digits, diffaugment_cifar10], ids=lambda module: module.__name__)
def test_ada_with_a_loss_without_a_sign_is_refused(module, loss):
    with pytest.raises(UsageError) as refused:
        parse(module.Options, ["--augment", "ada", "--loss", loss])
    assert str(refused.value) == (
        "--loss must be non_saturating or hinge with --augment ada, which follows the sign of D's logits, got " + loss
    )
    for augment in ("none", "diffaugment"):
        assert parse(module.Options, ["--augment", augment, "--loss", loss]).loss == loss


@pytest.mark.parametrize("module", [ada_digits, diffaugment_cifar10], ids=lambda module: module.__name__)
def test_a_strength_that_nothing_has_is_refused(module):
    with pytest.raises(UsageError, match=r"^--strength must be given together with --augment diffaugment, got 0.5$"):
        parse(module.Options, ["--augment", "ada", "--strength", "0.5"])
    assert parse(module.Options, ["--augment", "diffaugment", "--strength", "0.5"]).strength == 0.5


def test_the_losses_that_go_with_ada_are_those_that_its_controller_takes():
    for name in ("non_saturating", "hinge", "wasserstein", "least_squares"):
        try:
            ada.controller(getattr(losses, name))
        except ValueError:
            assert name not in ada_digits.SIGNED
        else:
            assert name in ada_digits.SIGNED


def test_a_sweep_has_diffaugments_strength_alone():
    options = parse(ada_digits.Options, [*SMOKE, "--augment", "diffaugment", "--sweep", "strength=0,0.5"])
    assert options.sweep == "strength=0,0.5"
    with pytest.raises(UsageError, match=r"^--sweep strength must have numbers"):
        parse(ada_digits.Options, [*SMOKE, "--augment", "diffaugment", "--sweep", "strength=0,1.5"])


@pytest.mark.slow
def test_the_probability_is_saved_and_goes_on(tmp_path):
    """It moves after every fourth update, by 4 · 8 images of 100."""
    run = [*SMOKE, "--ada-images", "100", "--ada-target", "-0.9", "--workdir", str(tmp_path / "run")]
    train(ada_digits.build, parse(ada_digits.Options, [*run, "--steps", "5"]))
    assert float(open_run(tmp_path / "run").state.extras["ada"]["p"]) == pytest.approx(0.32)
    state = train(ada_digits.build, parse(ada_digits.Options, [*run, "--steps", "9"]))
    assert float(state.extras["ada"]["p"]) == pytest.approx(0.64)
    whole = parse(ada_digits.Options, [*run[:-1], str(tmp_path / "whole"), "--steps", "9"])
    jax.tree.map(np.testing.assert_array_equal, train(ada_digits.build, whole).generator.params, state.generator.params)
