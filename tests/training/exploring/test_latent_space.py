"""Pictures of a generator that is known: each layer paints a quarter with its code."""

import numpy as np
import painted_runs
import pytest
from painted_runs import LAYERS, MAP, MEAN, PAINT

from jaxgan.training import UsageError
from jaxgan.training import open as open_run
from jaxgan.training.exploring import pictures
from jaxgan.training.exploring.codes import mixed
from jaxgan.training.exploring.directions import class_directions, factorised, spread
from jaxgan.training.exploring.latent_space import LatentSpace

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    runs = painted_runs.runs_of(tmp_path_factory.mktemp("runs"))
    return {kind: open_run(directory, build=painted_runs) for kind, directory in runs.items()}


@pytest.fixture
def run(opened):
    return opened["mapped"]


def by_hand(codes):
    """Images, uint8, of codes `[4, 3]`, in NumPy's float64."""
    quarters = [np.tanh(codes[k].astype(np.float64) @ PAINT[k]).reshape(4, 4) for k in range(4)]
    image = np.block([[quarters[0], quarters[1]], [quarters[2], quarters[3]]])
    return np.round((image + 1) * 127.5)[..., None]


def quarter(images, layer):
    y, x = divmod(layer, 2)
    return images[..., 4 * y : 4 * y + 4, 4 * x : 4 * x + 4, :]


def test_codes_are_what_is_mapped_and_pictures_what_is_painted(run):
    inputs = run.latent_space.inputs([5, 0, 130])
    codes = run.latent_space.codes(inputs)
    np.testing.assert_allclose(codes, np.repeat((inputs["latent"] @ MAP)[:, None], 4, axis=1), rtol=1e-5)
    np.testing.assert_allclose(run.latent_space.codes(inputs, weights="raw"), codes + 1, rtol=1e-5, atol=1e-6)
    found = run.latent_space.synthesize(codes, inputs)
    assert found.shape == (3, 8, 8, 1) and found.dtype == np.uint8
    for image, code in zip(found, codes, strict=True):
        assert np.abs(image - by_hand(code)).max() <= 1  # float32 may round the other way


@pytest.mark.parametrize("kind", ["mapped", "plain", "labelled"])
def test_numbers_are_those_of_samples_whatever_else_is_asked_for(kind, opened):
    run = opened[kind]
    samples = run.sample(150, seed=3)
    inputs = run.latent_space.inputs(range(150), seed=3)
    np.testing.assert_array_equal(run.latent_space.synthesize(run.latent_space.codes(inputs), inputs), samples)
    some = run.latent_space.inputs([149, 2, 77], seed=3)
    found = run.latent_space.synthesize(run.latent_space.codes(some), some)
    np.testing.assert_array_equal(found, samples[[149, 2, 77]])
    assert not np.array_equal(run.latent_space.inputs([2], seed=4)["latent"], some["latent"][1:2])


def test_truncation_0_is_one_picture_and_1_the_samples(run):
    inputs = run.latent_space.inputs(range(70))
    found = pictures.truncation_sweep(run.latent_space, inputs, [-1, 0, 0.5, 1])
    assert found.shape == (70, 4, 8, 8, 1)
    assert (found[:, 1] == found[0, 1]).all()
    assert np.abs(found[0, 1] - by_hand(np.tile(MEAN, (4, 1)))).max() <= 1
    np.testing.assert_array_equal(found[:, 3], run.sample(70))
    np.testing.assert_array_equal(found[:, 2], run.sample(70, truncation=0.5))
    for image, code in zip(found[:, 0], run.codes(70), strict=True):
        assert np.abs(image - by_hand(2 * MEAN - code)).max() <= 1


def test_a_plain_generator_is_truncated_towards_0(opened):
    run = opened["plain"]
    codes = run.codes(5)
    assert codes.shape == (5, 1, 3)
    found = pictures.truncation_sweep(run.latent_space, run.latent_space.inputs(range(5)), [0, 0.5])
    np.testing.assert_array_equal(found[:, 0], np.full((5, 8, 8, 1), 128))
    for image, code in zip(found[:, 1], codes, strict=True):
        assert np.abs(image - by_hand(np.repeat(code / 2, 4, axis=0))).max() <= 1


@pytest.mark.parametrize("layers", [[1], [2, 3]])
def test_a_mix_changes_the_named_layers_alone(layers, run):
    space = run.latent_space
    inputs, styles = space.inputs([0, 1, 2]), space.inputs([7, 8])
    rows, columns, cells = pictures.mixing_matrix(space, inputs, styles, layers)
    np.testing.assert_array_equal(rows, run.sample(3))
    np.testing.assert_array_equal(columns, run.sample(9)[7:])
    for i, j in np.ndindex(3, 2):
        for layer in range(4):
            source = columns[j] if layer in layers else rows[i]
            np.testing.assert_array_equal(quarter(cells[i, j], layer), quarter(source, layer))
            assert not np.array_equal(quarter(rows[i], layer), quarter(columns[j], layer))
    by_hand = space.codes(inputs)
    by_hand[:, layers] = space.codes(styles)[1, layers]
    np.testing.assert_array_equal(run.synthesize(by_hand), cells[:, 1])


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("mapped, spherical", [(True, False), (False, True), (False, False)])
def test_walks_pass_the_samples(mapped, spherical, closed, run):
    inputs = run.latent_space.inputs([4, 9, 2])
    how = {"closed": closed, "mapped": mapped, "spherical": spherical}
    found = pictures.walked(run.latent_space, inputs, 3, **how)
    assert len(found) == (9 if closed else 7)
    assert np.abs(found[::3].astype(int) - run.sample(10)[[4, 9, 2]]).max() <= 1
    still = pictures.walked(run.latent_space, inputs, 3, truncation=0.0, **how)
    assert (still == still[0]).all()


def test_a_walk_in_z_goes_where_z_goes(run):
    """And not where w would: the mapping is linear, but a great circle isn't."""
    inputs = run.latent_space.inputs([4, 9])
    found = pictures.walked(run.latent_space, inputs, 2, closed=False, mapped=False, spherical=True)[1]
    a, b = inputs["latent"].astype(np.float64)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    middle = (a + b) * np.sin(angle / 2) / np.sin(angle)
    assert np.abs(found - by_hand(np.tile(middle @ MAP, (4, 1)))).max() <= 1


def test_the_class_stays_on_a_walk_in_z(opened):
    space = opened["labelled"].latent_space
    inputs = space.inputs([0, 1])
    assert inputs["condition"].tolist() == [0, 1]
    found = pictures.walked(space, inputs, 1, closed=False, mapped=False, spherical=False)
    stays = space.synthesize(space.codes(inputs), {**inputs, "condition": np.zeros(2, np.int32)})
    np.testing.assert_array_equal(found, stays)
    assert not np.array_equal(found[1], opened["labelled"].sample(2)[1])


def test_directions_move_what_their_layers_paint(run):
    space = run.latent_space
    found = factorised([space.factors()[1]])
    np.testing.assert_allclose(found.values, np.linalg.svd(PAINT[1].astype(np.float64))[1] ** 2, rtol=1e-6)
    inputs = space.inputs([3, 6])
    amounts = np.array([[-1.0, 0.0, 2.0]] * 3)
    images = pictures.along_directions(space, inputs, found.directions, amounts, [1])
    assert images.shape == (2, 3, 3, 8, 8, 1)
    samples, codes = run.sample(7)[[3, 6]], space.codes(inputs)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(images[i, j, 1], samples[i])
        for layer in (0, 2, 3):
            np.testing.assert_array_equal(
                quarter(images[i, j], layer), np.broadcast_to(quarter(samples[i], layer), (3, 4, 4, 1))
            )
        code = codes[i].astype(np.float64)
        code[1] += 2 * found.directions[j]
        assert np.abs(images[i, j, 2] - by_hand(code)).max() <= 1


def test_the_direction_to_a_class_raises_its_share(run):
    """Classes by which side of a plane w is on, as seen in the first quarter: the plane's normal is found."""
    space = run.latent_space
    normal = np.array([2.0, -1.0, 2.0]) / 3
    invert = np.linalg.pinv(PAINT[0].astype(np.float64))

    def read(images):
        painted = np.arctanh(np.clip(quarter(images, 0) / 127.5 - 1, -0.999, 0.999)).reshape(-1, 16)
        return (painted @ invert @ normal > 0.5).astype(int)

    codes = space.codes(space.inputs(range(3000)))
    images = run.synthesize(codes)
    assert 0.1 < read(images).mean() < 0.9
    white = np.linalg.inv(np.cov(codes[:, 0].T)) @ class_directions(codes[:, 0], read(images), [1])[0]
    assert white @ normal / np.linalg.norm(white) > 0.97  # w isn't round: its mean moves along its covariance
    directions = class_directions(codes[:, 0], read(images), [0, 1])
    amounts = spread(codes[:, 0], directions)[:, None] * np.array([-2.0, 0.0, 2.0])
    moved = pictures.along_directions(space, space.inputs(range(300)), directions, amounts, range(4))
    for number in range(2):
        shares = [np.mean(read(moved[:, number, s]) == number) for s in range(3)]
        assert shares[0] < shares[1] - 0.1 and shares[2] > shares[1] + 0.1, shares


def test_a_notebook_draws_codes_of_its_own(opened):
    run = opened["mapped"]
    codes = run.codes([7, 3])
    np.testing.assert_array_equal(run.codes(8)[[7, 3]], codes)
    np.testing.assert_array_equal(run.synthesize(codes), run.sample(8)[[7, 3]])
    several = mixed(codes, codes, [0])
    inputs = run.latent_space.inputs([7, 3])
    assert run.latent_space.synthesize(several, inputs).shape == (2, 2, 8, 8, 1)
    assert (run.codes(2, weights="raw") != run.codes(2)).all()
    labelled = opened["labelled"]
    classes = labelled.draw(6)["label"]
    np.testing.assert_array_equal(labelled.synthesize(labelled.codes(6), label=classes), labelled.sample(6))
    np.testing.assert_array_equal(labelled.synthesize(labelled.codes(6), label=1), labelled.sample(6, label=1))


@pytest.mark.parametrize(
    "kind, call, match",
    [
        ("none", lambda run: run.codes(3), "has no latent space: its GAN doesn't say how pictures come from latents"),
        ("mapped", lambda run: run.codes(0), "the count must be at least 1, got 0"),
        ("mapped", lambda run: run.codes([]), "count must be at least 1, got 0"),
        ("mapped", lambda run: run.codes([3, -1]), "numbers of samples must be from 0 to 2147483647, got 3,-1"),
        ("mapped", lambda run: run.codes(10**12), "the count must be at most"),
        ("mapped", lambda run: run.codes(2, label=1), "is given no labels; leave out label 1"),
        ("mapped", lambda run: run.codes(2, weights="no"), "weights must be one of ema, raw"),
        ("mapped", lambda run: run.synthesize(np.zeros((2, 3))), r"codes must be \[N, ..., 4×3\], .* got \[2, 3\]"),
        ("labelled", lambda run: run.codes(2, label=2), "the label must be from 0 to 1"),
    ],
)
def test_what_a_notebook_asks_wrongly_is_a_line(kind, call, match, opened):
    with pytest.raises(UsageError, match=match) as error:
        call(opened[kind])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(), (2, 3), (2, 3, 3), (2, 4, 4), (0, 4, 3)])
def test_codes_of_another_shape_are_refused(shape, run):
    with pytest.raises(ValueError, match=r"^codes must be \[N, ..., 4×3\], layers and numbers, got \["):
        run.latent_space.synthesize(np.zeros(shape, np.float32), run.latent_space.inputs([0, 1]))


@pytest.mark.slow
def test_an_ensemble_has_no_single_space(tmp_path):
    directory = painted_runs.run_of(tmp_path, seeds=2)
    run = open_run(directory, build=painted_runs)
    with pytest.raises(UsageError, match="has 2 GANs: name one of them"):
        run.codes(3)
    with pytest.raises(ValueError, match="an ensemble of 2 GANs has as many latent spaces"):
        LatentSpace(run.drawing, run.state)
    assert run.member(1).codes(3).shape == (3, len(LAYERS), 3)


def test_a_walk_in_w_is_refused_where_there_is_none(opened):
    space = opened["plain"].latent_space
    with pytest.raises(ValueError, match="has no w: walk in z"):
        pictures.walked(space, space.inputs([0, 1]), 2, closed=True, mapped=True, spherical=False)
