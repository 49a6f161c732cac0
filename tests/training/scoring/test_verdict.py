"""What is said of a run from its scores: the best step, and collapses."""

import numpy as np
import pytest

from jaxgan.training.scoring.verdict import best, collapse, reached, symptoms, unlearned


def course(values, *, key="fid", distinct=0.9, spread=0.9, before=0.9, member=None, every=100):
    """Records as a run writes them; the last evaluation has `distinct` and `spread`, those before had `before`."""
    records = []
    for i, value in enumerate(values, 1):
        last = i == len(values)
        numbers = {key: value, "distinct": distinct if last else before, "spread": spread if last else before}
        about = {"step": every * i, "member": member}
        records += [{"key": name, "name": f"the {name}", "value": number, **about} for name, number in numbers.items()]
    return records


def test_the_best_step_has_the_lowest_distance():
    assert best(course([9, 3, 5]), "fid") == (200, 3, "the fid")
    assert best([], "fid") is None
    assert best(course([9, 3, 3]), "fid").step == 200, "the earliest"


def test_a_score_of_which_more_is_better():
    assert best(course([2, 9, 5], key="is"), "is").step == 200
    assert best(course([2, 9, 5], key="modes"), "modes").step == 200, "points have modes and no KL"
    assert best(course([2, 9, 5], key="kl"), "modes").step == 100


def test_the_first_step_that_is_as_good_as_asked_for():
    assert reached(course([9, 5, 3, 4]), "fid", 5) == (200, 5, "the fid")
    assert reached(course([9, 5, 3]), "fid", 2.9) is None and reached([], "fid", 5) is None
    assert reached(course([2, 9, 5], key="is"), "is", 3).step == 200, "more is better"
    assert reached(course([2, 9, 5], key="modes"), "modes", 3).step == 200
    assert reached(course([2, 9, 5], key="kl"), "modes", 9) is None, "modes are counted, whatever ranks checkpoints"
    assert reached(course([9, 5], key="vector_frechet"), "vectors", 5).step == 200
    assert reached(course([9, 5]), "kid", 5) is None
    assert reached(course([float("nan"), 5]), "fid", 5).step == 200, "what is no number is as good as nothing"
    assert reached(course([float("inf"), 5], key="is"), "is", 5).step == 100
    records = course([4, 3], member=0) + course([9, 7], member=1)
    assert reached(records, "fid", 5, [0, 1]) == (200, 5, "the fid"), "of an ensemble the mean"
    assert reached(records, "fid", 5, [0]).step == 100 and reached(records, "fid", 5, []) is None


def test_of_an_ensemble_the_mean_over_members_is_ranked():
    records = course([9, 3, 5], member=0) + course([2, 8, 5], member=1)
    assert best(records, "fid", [0, 1]) == (300, 5, "the fid")
    assert best(records, "fid", [1]).step == 100


def test_a_member_that_froze_counts_nowhere():
    """At step 300 only member 1 was scored: its mean alone says nothing against those of both."""
    records = course([9, 7], member=0) + course([9, 7, 4], member=1)
    assert best(records, "fid", [0, 1]).step == 200 and best(records, "fid", [1]).step == 300


@pytest.mark.parametrize("values", [[30, 20, 10], [30, 10, 19.9], [5, 5, 5], [300, 200, 150, 120, 130]])
def test_a_healthy_run_raises_no_alarm(values):
    assert collapse(course(values), "fid") is None and unlearned(course(values)) is None


def test_what_a_collapse_is():
    assert "3% of its images are distinct; 90% were" in collapse(course([30, 20, 25], distinct=0.03), "fid")
    assert "vary by 10%" in collapse(course([30, 20, 25], spread=0.1), "fid")
    assert collapse(course([49, 60, 137]), "fid") == "the fid is 137, and was 49 at step 100"
    modes = course([0.1, 0.2, 4.0], key="kl")
    for i, count in enumerate([990, 1000, 80]):
        modes.append({"key": "modes", "name": "modes", "value": count, "step": 100 * (i + 1), "member": None})
    assert collapse(modes, "modes") == "80 modes are left of 1000"


def test_a_generator_that_has_not_begun_to_learn_has_not_collapsed():
    flat = course([30, 25, 28], distinct=0.0, spread=0.01, before=0.02)
    assert collapse(flat, "fid") is None and "never more than 2%" in unlearned(flat)
    assert unlearned(flat[:6]) is None, "two evaluations say nothing"
    assert collapse([], "fid") is None and unlearned([]) is None
    assert unlearned(course([0.5, 0.5, 0.5], key="swd")) is None


def test_a_member_is_judged_by_its_own_course():
    records = course([30, 20, 10], member=0) + course([30, 20, 10], member=1, distinct=0.1)
    assert collapse(records, "fid", 0) is None and collapse(records, "fid", 1)


@pytest.mark.parametrize("metric, key", [("modes", "kl"), ("kid", "kid")])
def test_numbers_that_are_near_zero_where_all_is_well_raise_no_alarm(metric, key):
    assert collapse(course([0.05, -0.0001, 0.0007], key=key), metric) is None


def test_symptoms_are_means_over_the_steps():
    metrics = {
        "discriminator/real_logits": np.array([4.0, 6.0]),
        "discriminator/fake_logits": np.array([-5.0, -5.0]),
        "generator/gradient_norm": np.array([0.5, np.nan]),
    }
    assert symptoms(metrics) == ["D's margin 10", "G's gradient norm 0.5"]
    assert symptoms({"loss": np.ones(2)}) == []
