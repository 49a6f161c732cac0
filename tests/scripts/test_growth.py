"""`scripts.benchmarks.growth`: its table of given points, its picture, and what it refuses."""

import pytest
from PIL import Image

from jaxgan.training.errors.usage import UsageError
from scripts.benchmarks import growth
from scripts.benchmarks.growth import Options, Point

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def test_the_table_compares_with_the_smallest_value():
    first, second = growth.rows("batch", [Point(16, 0.01, 2e9, 4_000_000), Point(1024, 0.03, 8e9, 10_000_000)])
    assert first == ["batch 16", "10.0", "2.00", "4.0", "1.00", "1.00", "1.00"]
    assert second == ["batch 1,024", "30.0", "8.00", "10.0", "3.00", "4.00", "2.50"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"axes": ("batch", "depth")}, "--axes must be of batch"),
        ({"count": 0}, "--count"),
        ({"rounds": 0}, "--round"),
    ],
)
def test_what_it_refuses(changes, message):
    with pytest.raises(UsageError, match=message):
        Options(**changes)


@pytest.mark.long
def test_it_measures_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(growth, "MIDDLE", {"batch": 4, "resolution": 28, "width": 2, "seeds": 1, "images": 100})
    monkeypatch.setattr(growth, "VALUES", {"batch": (4, 8), "seeds": (1, 2)})
    out = tmp_path / "growth.png"
    growth.growth(Options(out=out, axes=("batch", "seeds"), rounds=1, seconds=0.01))
    with Image.open(out) as picture:
        assert picture.size == (600, 550)
    lines = capsys.readouterr().out.splitlines()
    work = {line.rsplit(maxsplit=6)[0]: float(line.split()[-2]) for line in lines[-4:]}
    assert work["batch 4"] == work["seeds 1"] == 1
    assert work["seeds 2"] == 2 and 1.5 < work["batch 8"] <= 2
