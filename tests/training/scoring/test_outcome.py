"""The verdict on a run: which word, and by which sign."""

import numpy as np
import pytest

from jaxgan.training.scoring.outcome import verdict_of

EVEN = [0.125] * 8


def scores(values, key="fid", **more):
    return [
        {"key": key, "name": f"the {key}", "value": value, "step": 100 * number, "member": None, **more}
        for number, value in enumerate(values, 1)
    ]


def pictures(*looks, spread=0.9, distinct=0.95):
    return [
        {
            "step": 100 * number,
            "samples": 1000,
            "spread": spread,
            "distinct": distinct,
            "classes": list(look),
            "expected": EVEN,
        }
        for number, look in enumerate(looks, 1)
    ]


HEALTHY = [125] * 8
HALF = [250, 250, 250, 240, 3, 3, 2, 2]


def test_numbers_that_are_none_any_more_are_a_divergence():
    found = verdict_of({"generator/loss": [1.0, 2.0, None]}, scores([9, 8, 7]), [])
    assert found == ("diverged", "generator/loss is no number any more")
    assert verdict_of({}, [], [], ended="diverged: G became nan at step 7").sign == "G became nan at step 7"
    assert verdict_of({"generator/loss": [1.0, None, 2.0]}, [], []).state == "learning", "a gap is none"


def test_an_explosion_is_a_divergence_and_a_spike_is_none():
    norms = np.r_[np.full(80, 2.0), np.full(20, 300.0)].tolist()
    found = verdict_of({"generator/gradient_norm": norms}, [], [])
    assert found == ("diverged", "generator/gradient_norm was 2, and is 300")
    spike = np.r_[np.full(98, 2.0), 300.0, 2.0].tolist()
    assert verdict_of({"generator/gradient_norm": spike}, [], []).state == "learning"
    assert verdict_of({"generator/loss": norms}, [], []).state == "learning", "a loss may be anything"


def test_modes_that_are_lost_or_never_found():
    assert verdict_of({}, [], pictures(HEALTHY, HALF, HALF)).sign == (
        "4 of 8 classes are drawn, once 8 were (hardly any of class 4, 5, 6, 7)"
    )
    never = verdict_of({}, [], pictures(HALF, HALF, HALF))
    assert never.state == "lost modes" and "never were more" in never.sign


@pytest.mark.parametrize(
    "looks",
    [
        (HALF, HALF),
        (HEALTHY, HEALTHY, HALF),
        (HALF, HALF, HEALTHY),
        (HALF, HALF, HALF, HALF, [140] * 7 + [2], [140] * 7 + [2]),
    ],
)
def test_modes_that_come_or_are_missed_once_are_not_lost(looks):
    assert verdict_of({}, [], pictures(*looks)).state == "learning"


def test_few_samples_lack_a_class_by_chance():
    """Of 40 samples, a class with half its share is left out once in twelve times, and one of eight nearly always."""
    few = [dict(each, samples=40) for each in pictures(*[[6, 6, 6, 6, 6, 5, 5, 0]] * 4)]
    assert verdict_of({}, [], few).state == "learning"
    assert verdict_of({}, [], [dict(each, classes=[10, 10, 10, 10, 0, 0, 0, 0]) for each in few]).state == "lost modes"


def test_a_collapse_is_seen_in_scores_and_in_pictures():
    assert verdict_of({}, scores([49, 60, 137]), []) == ("collapsed", "the fid is 137, and was 49 at step 100")
    shown = [dict(each, spread=spread) for each, spread in zip(pictures(*[HEALTHY] * 3), (0.9, 0.9, 0.1), strict=True)]
    assert verdict_of({}, [], shown) == ("collapsed", "its images vary by 10% of what real ones do; it was 90%")


def test_a_generator_that_has_not_begun():
    assert verdict_of({}, [], pictures(*[HEALTHY] * 3, spread=0.01, distinct=0.0)).state == "not begun"


@pytest.mark.parametrize(
    "key, values, state",
    [
        ("fid", [90, 50, 30, 20, 12, 8], "learning"),
        ("fid", [90, 50, 30, 31, 30, 30], "converged"),
        ("fid", [30, 31, 30, 30], "learning"),  # too few to tell
        ("is", [1, 2, 3, 4, 5, 6], "learning"),
        ("is", [1, 2, 6, 6, 6, 6], "converged"),
        ("modes", [8, 8, 8, 8, 8, 8], "converged"),
    ],
)
def test_whether_it_learns_still(key, values, state):
    assert verdict_of({}, scores(values, key), []).state == state


def test_scores_of_other_options_are_another_course():
    before = scores([1, 1, 1], during_training="a")
    assert verdict_of({}, [*before, *scores([40, 30, 20], during_training="b")], []).state == "learning"


def test_nothing_is_known_of_a_run_without_signs():
    assert verdict_of({}, [], []) == ("learning", "nothing is known yet but the losses")
