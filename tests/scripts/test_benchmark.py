"""`scripts.benchmarks.steps`: FLOP by hand against XLA's count, what its table says of given times, and what it
refuses."""

import dataclasses
import importlib.util
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from jaxgan.networks import products
from jaxgan.training.errors.usage import UsageError
from scripts.benchmarks import sides as sides_of
from scripts.benchmarks import steps as benchmark
from scripts.benchmarks.lines import LINES, critic, dcgan, lazy, lowered, stylegan2

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def gan_of(line):
    return line.build(line.options, line.data)


# StyleGAN2's penalties take long to trace. Groups are computed several at once on a CPU, which multiplies zeros.
SLOW = {name: pytest.mark.slow if "stylegan2" in name else () for name in LINES} | {"stylegan2_64": pytest.mark.long}
NAMES = [pytest.param(name, marks=marks) for name, marks in SLOW.items() if name != "r3gan_groups32"]


@pytest.mark.parametrize("name", NAMES)
def test_flop_by_hand_are_xlas_but_for_elementwise_work(name, monkeypatch):
    """With patches, which multiply what there is to multiply."""
    monkeypatch.setattr(products, "_form", lambda dtype, channels, features, geometry: products.Patches(**geometry))
    line = LINES[name]
    gan = gan_of(line)
    iteration = lowered(gan, line.data)
    if name.startswith("r3gan"):  # whose penalties' forward passes XLA makes no second time, as it finds
        iteration = iteration.compile({"xla_backend_optimization_level": 0})
    counted = iteration.cost_analysis()["flops"]
    by_hand = line.flop * line.images
    if name == "wgan_gp32":  # of whose five critic steps, a loop's body, XLA counts one
        options = line.options
        by_hand = critic(*dcgan(32, 3, options.features, options.latent_size), 1) * options.batch_size
    most = 1.05
    if "stylegan2" in name:  # XLA counts penalties in every iteration; nobody filters, noise and demodulation by hand
        every = dataclasses.replace(line.options, r1_every=1, path_length_every=1)
        size, channels = line.data.size, line.data.channels
        by_hand, most = lazy(*stylegan2(size, channels, every), every) * line.images, 1.25
    assert 1 < counted / by_hand < most
    assert line.images == gan.batch_size


# GFLOP of an iteration on the CPU as XLA counts them, a loop's body once; and MB beside state and batch.
WORK = {"mlp": 1.924, "dcgan32": 14.00, "dcgan64": 169.6, "wgan_gp32": 21.28, "residual32": 200.4}
WORK |= {"r3gan32": 2.174, "r3gan_groups32": 8.623}
WORK |= {"stylegan2_32": 10.44, "stylegan2_64": 43.15}
MEMORY = {"mlp": 1.54, "dcgan32": 57.3}


@pytest.mark.parametrize("name", NAMES)
def test_an_iteration_does_no_more_work_than_it_did(name):
    """No clock: a change that adds a pass, or loses a form, is seen here. One that saves work lowers the number."""
    iteration = lowered(gan_of(LINES[name]), LINES[name].data)
    assert iteration.cost_analysis()["flops"] / 1e9 == pytest.approx(WORK[name], rel=0.01)
    if name in MEMORY:
        compiled = iteration.compile({"xla_backend_optimization_level": 0})
        assert compiled.memory_analysis().temp_size_in_bytes / 1e6 == pytest.approx(MEMORY[name], rel=0.1)


def side(seconds, first=1.0, peak=2e6):
    return {"seconds": seconds, "first": first, "peak": peak, "product": 1e11, "copy": 1e9, "flop": 64e6, "device": "x"}


def test_the_fastest_of_pytorchs_settings_counts_and_ratios_are_taken_round_by_round():
    sides = {"ours": side([0.1, 0.2, 0.1]), "eager": side([0.4, 0.4, 0.4]), "compiled": side([0.2, 0.2, 0.3], 9.0)}
    result = benchmark.result_of("mlp", sides)
    assert result["best"] == "compiled" and result["ratios"] == pytest.approx([2, 1, 3])
    title, mine, others, ratio, first, peak, flop, share = benchmark.row(result)
    assert title == LINES["mlp"].title and mine == "640" and others == "320 (compiled)"
    assert ratio == "2 (1.5 to 2.5)" and first == "1.0 / 9.0" and peak == "2 / 2" and flop == "29 / 1"
    assert share == f"{640 * LINES['mlp'].flop / 1e9:.0f} %"
    alone = benchmark.row(benchmark.result_of("mlp", {"ours": sides["ours"]}))
    assert alone[2] == alone[3] == "" and alone[4] == "1.0"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"lines": ("mlp", "x")}, "--lines must be of mlp, dcgan32"),
        ({"rounds": 0}, "--rounds"),
        ({"seconds": 0.0}, "s"),
    ],
)
def test_what_it_refuses(changes, message):
    with pytest.raises(UsageError, match=message):
        benchmark.Options(**changes)


def test_the_largest_rate_is_that_of_a_row_of_products(monkeypatch):
    """Of a time of two seconds, worked out by hand: four products of 10 by 10 are 8,000 FLOP, a copy moves 8 bytes."""
    monkeypatch.setattr(sides_of, "_best", lambda call: call() or 2.0)
    done = []
    rates = sides_of._rates(np.eye(10), np.ones(50), done.append, done.append, lambda result: None)
    assert rates == {"product": 4000.0, "copy": 200.0} and [len(each) for each in done] == [10, 50]


def test_products_in_a_row_neither_vanish_nor_grow():
    square = np.random.default_rng(0).normal(size=(400, 400)) * 400**-0.5
    result = sides_of._products(square)
    np.testing.assert_allclose(result, np.linalg.matrix_power(square, 5))
    assert np.std(result) == pytest.approx(400**-0.5, rel=0.2)


def test_on_a_gpu_pytorch_is_tried_with_cuda_graphs_too(monkeypatch):
    for gpu in (False, True):
        torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda gpu=gpu: gpu))
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: "a module's")
        found = sides_of.settings()
        assert ("reduce-overhead" in found) == gpu and set(sides_of.SETTINGS) <= set(found)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert sides_of.settings() == ()


def dies(pipe):
    pipe.close()


@pytest.mark.slow
def test_a_process_that_ends_early_is_told():
    with pytest.raises(UsageError, match="ended before its time"):
        benchmark.Side(dies)


def answers(pipe, name, dtype, who="ours"):
    """As a timed process does, but for the work; of PyTorch's one setting fails at once, another after a few calls."""
    for _ in range({"eager": 0, "compiled": 3}.get(who, 9)):
        pipe.send({"seconds": 0.1, "first": 1.0})
        if pipe.recv() == 0:
            pipe.send({"peak": 2e6})
            break


@pytest.mark.slow
def test_a_setting_of_pytorchs_that_fails_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "ours", answers)
    monkeypatch.setattr(benchmark, "theirs", answers)
    result = benchmark.measured("mlp", benchmark.Options(rounds=4), torch=sides_of.SETTINGS)
    assert list(result["sides"]) == ["ours", "eager, channels_last", "compiled, channels_last"]
    assert all(len(each["seconds"]) == 4 and each["peak"] == 2e6 for each in result["sides"].values())
    said = capsys.readouterr().out
    assert "PyTorch eager fails" in said and "PyTorch compiled fails" in said and said.count("left out") == 2


@pytest.mark.slow
def test_a_line_is_timed(tmp_path, monkeypatch, capsys):
    """Ours alone, as where PyTorch isn't installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = tmp_path / "speed.json"
    benchmark.benchmark(benchmark.Options(lines=("mlp",), rounds=2, seconds=0.05, out=out))
    (line,) = json.loads(out.read_text())["lines"]
    ours = line["sides"]["ours"]
    assert len(ours["seconds"]) == 2 and min(ours["seconds"]) > 0 and ours["peak"] > 0 and ours["product"] > 1e8
    said = capsys.readouterr().out
    assert "ours is timed alone" in said and LINES["mlp"].title in said and "largest matrix product" in said
