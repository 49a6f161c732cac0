"""The end of an ensemble: means by hand, the text, the files, and odd cases."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.training.scoring.report import Summary, plot, share_table, summaries, table, write

RATE = "discriminator/learning_rate"


def row(member, score, *, frozen=None, **more):
    return {"member": member, "seed": member % 4, "frozen": frozen, "score": score, **more}


def sweep():
    """Two values, four seeds each; one member diverged at its last finite score, another has none."""
    scores = [2.0, 4.0, 9.0, 3.0, 1.0, 1.5, math.nan, 50.0]
    frozen = [None] * 7 + [1200]
    rates = [2e-4] * 4 + [1e-4] * 4  # not in order
    return [
        row(k, scores[k], frozen=frozen[k]) | {RATE: rates[k], "generator/loss": k / 4, "generator/gradient_norm": 7.0}
        for k in range(8)
    ]


def test_means_by_hand():
    """2, 4, 9, 3: mean 4.5, squares of differences 6.25 + 0.25 + 20.25 + 2.25 = 29, over 3. 1, 1.5: 1.25, 0.125."""
    low, high = summaries(sweep(), RATE)
    assert low == Summary(1e-4, 4, 2, 1.25, pytest.approx(math.sqrt(0.125)))
    assert high == Summary(2e-4, 4, 4, 4.5, pytest.approx(math.sqrt(29 / 3)))
    (everyone,) = summaries(sweep())
    assert everyone[:3] == (None, 8, 6) and everyone.mean == pytest.approx(20.5 / 6)
    losses = summaries(sweep(), RATE, "generator/loss")
    assert [loss.mean for loss in losses] == pytest.approx([(4 + 5 + 6) / 12, (0 + 1 + 2 + 3) / 16])
    assert [loss.counted for loss in losses] == [3, 4], "who has no score may have a loss; who diverged counts nowhere"


def test_means_of_few():
    assert summaries([row(0, 3.0)]) == [Summary(None, 1, 1, 3.0, None)]
    assert summaries([row(0, 3.0, frozen=5), row(1, None)]) == [Summary(None, 2, 0, None, None)]
    assert summaries([row(0, 0.1), row(1, 0.1), row(2, 0.1)])[0].std == 0
    with pytest.raises(ValueError, match="at least one member"):
        summaries([])


def test_the_table_of_a_sweep():
    members, means = table(sweep(), RATE, "distance").split("\n\n")
    lines = members.splitlines()
    assert lines[0].split() == ["member", "seed", RATE, "distance", "generator/loss"]
    assert lines[1].split() == ["0", "0", "0.0002", "2", "0"]
    assert lines[7].split() == ["6", "2", "0.0001", "-", "1.5"]
    assert lines[8].endswith("1.75            diverged at step 1,200")
    assert [line.split() for line in means.splitlines()] == [
        [RATE, "distance", "generator/loss", "members"],
        ["0.0001", "1.25", "±", "0.35", "1.25", "±", "0.25", "2", "of", "4"],
        ["0.0002", "4.5", "±", "3.1", "0.375", "±", "0.32", "4", "of", "4"],
    ]


def test_the_table_of_seeds():
    text = table([row(k, 1.0 + k) for k in range(3)])
    assert text.splitlines() == [
        "member  seed  score",
        "0       0     1",
        "1       1     2",
        "2       2     3",
        "",
        "score  members",
        "2 ± 1  3 of 3",
    ]


def test_other_numbers_of_the_score_stand_beside_it():
    text = table([row(k, 8.0 - k, quality=k / 4) for k in range(3)], None, "modes", ["quality"])
    members, means = text.split("\n\n")
    assert [line.split()[:4] for line in members.splitlines()] == [
        ["member", "seed", "modes", "quality"],
        *([str(k), str(k), f"{8 - k}", f"{k / 4:g}"] for k in range(3)),
    ]
    assert means.splitlines()[1].split() == ["7", "±", "1", "0.25", "±", "0.25", "3", "of", "3"]


def test_the_table_of_one_and_of_the_lost():
    assert table([row(0, 0.25)]).splitlines()[-1] == "0.25   1 of 1"
    lost = table([row(k, None, frozen=10 * k) for k in range(2)]).splitlines()
    assert lost[1].split("  ")[-1] == "diverged at step 0", "a member may diverge in its first step"
    assert lost[-1] == "-      0 of 2"


def test_the_record_is_json_of_any_kind_of_number(tmp_path):
    rows = [
        {"member": np.int32(0), "seed": 0, "frozen": None, "score": jnp.float32(0.5), "generator/loss": np.float32(2)},
        {"member": 1, "seed": np.uint32(2**32 - 1), "frozen": jnp.int32(7), "score": jnp.nan, "generator/loss": np.inf},
    ]
    write(tmp_path, rows, score_name="distance")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["members.json", "members.png"]

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    assert json.loads((tmp_path / "members.json").read_text(), parse_constant=refuse) == {
        "score_name": "distance",
        "swept": None,
        "members": [
            {"member": 0, "seed": 0, "frozen": None, "score": 0.5, "generator/loss": 2.0},
            {"member": 1, "seed": 2**32 - 1, "frozen": 7, "score": None, "generator/loss": None},
        ],
        "summary": [{"value": None, "members": 2, "counted": 1, "mean": 0.5, "std": None}],
    }


def swept(values, scores, frozen=()):
    pairs = enumerate(zip(values, scores, strict=True))
    return [row(k, score, frozen=9 if k in frozen else None, rate=value) for k, (value, score) in pairs]


@pytest.mark.parametrize(
    "rows, name",
    [
        pytest.param(sweep(), RATE, id="sweep"),
        pytest.param([row(k, 1.0 + k) for k in range(8)], None, id="seeds"),
        pytest.param([row(0, 1.0)], None, id="one-seed"),
        pytest.param(swept([0.5], [1.0]), "rate", id="one-value"),
        pytest.param(swept([0.0], [1.0]), "rate", id="only-zero"),
        pytest.param(swept([0.0, 0.1, 10.0], [1.0, 2.0, 3.0]), "rate", id="zero-among-them"),
        pytest.param(swept([-1.0, 1.0], [1.0, 2.0]), "rate", id="negative"),
        pytest.param(swept([1e-5, 1e-3, 1e-3], [1.0, 2.0, 3.0]), "rate", id="decades"),
        pytest.param(swept([1.0, 2.0], [None, None], frozen=(0, 1)), "rate", id="all-diverged-sweep"),
        pytest.param(swept([1e-5, 1e-5], [None, None], frozen=(0, 1)), "rate", id="all-diverged-one-value"),
        pytest.param([row(k, None, frozen=3) for k in range(2)], None, id="all-diverged-seeds"),
        pytest.param([row(k, 0.3) for k in range(3)], None, id="equal"),
        pytest.param([row(k, 0.0) for k in range(3)], None, id="equal-zero"),
        pytest.param(swept(range(1, 17), np.linspace(3, 1, 16)), "rate", id="sixteen"),
        pytest.param([row(k, k / 40) | {"seed": 10**9 + k} for k in range(40)], None, id="forty-long-seeds"),
    ],
)
def test_a_plot_can_be_drawn_of_anything(rows, name, tmp_path):
    plot(tmp_path / "members.png", rows, name, "distance")
    assert [path.name for path in tmp_path.iterdir()] == ["members.png"]
    with Image.open(tmp_path / "members.png") as file:
        assert file.size == (840, 540)
        pixels = np.asarray(file.convert("RGB"), np.int32)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert (pixels.sum(axis=-1) < 100).sum() > 300, "axes and words"
    assert ((blue - red > 60).sum() > 20) == any(r["score"] is not None and r["frozen"] is None for r in rows)
    assert (((red > 150) & (green < 100)).sum() > 20) == any(r["frozen"] is not None for r in rows)


def test_a_plot_leaves_no_trace_in_pyplot(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    plot(tmp_path / "members.png", [row(0, 1.0)])
    assert pyplot.get_fignums() == before


def test_shares_are_per_cent_with_their_spread_over_several_columns():
    """Of 50 and 75 the mean is 62.5, the standard deviation with n - 1 is 25/√2."""
    lines = share_table("told", {"all": [0.5, 0.75], "none": [0.0, 0.0]}, ["seed 3", "seed 4"])
    assert [line.split("  ") for line in lines] == [
        ["told", "seed 3", " seed 4", " mean ± std"],
        ["all", " 50.00 %", "75.00 %", "62.50 ± 17.68 %"],
        ["none", "0.00 %", " 0.00 %", " 0.00 ± 0.00 %"],
    ]
    assert share_table("told", {"all": [0.125]}, ["share"]) == ["told  share", "all   12.50 %"]
