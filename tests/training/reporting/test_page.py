"""What a report says, and that it is one file which asks nobody for anything."""

import base64
import html.parser
import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from written_runs import written

from jaxgan.training import UsageError
from jaxgan.training.output.history import History
from jaxgan.training.output.pictures import save_png
from jaxgan.training.reporting.charts import HEIGHT, LEFT, RIGHT, WIDTH, Series, line_chart
from jaxgan.training.reporting.copies import nearest_of_many
from jaxgan.training.reporting.course import read_course, sampled_rows, smoothed
from jaxgan.training.reporting.frames import SIZE, frames
from jaxgan.training.reporting.page import page, refresh
from jaxgan.training.reporting.provenance import about, duration, speed, trained_seconds

VOID = {"meta", "img", "input", "br", "line", "circle", "polyline", "polygon"}


class Reader(html.parser.HTMLParser):
    """The tags, attributes and texts of a page; every tag that is opened must be closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(text)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def report(*directories):
    return Reader(page(directories))


def test_the_verdict_comes_first_and_everything_is_there(tmp_path):
    run = written(tmp_path / "run", scores=[90, 50, 30, 20, 12, 8])
    found = report(run)
    assert found.text.index("Learning") < found.text.index("Pictures") < found.text.index("Losses and gradients")
    for text in (
        "Fréchet distance, features x is 8 at step 60",
        "100 samples against 200 real ones",
        "step 60 of 60",
        "9.9.9",
    ):
        assert text in found.text
    assert f"--options {run}/options.json" in found.text
    titles = [attributes["aria-label"] for tag, attributes in found.tags if tag == "svg"]
    assert len(titles) == 4, "scores, losses, margin and gradients"
    assert "margin 3" in found.text, "of logits 2 and -1"


def test_nothing_is_asked_for_elsewhere(tmp_path):
    found = report(written(tmp_path / "run"))
    addresses = [value for _, attributes in found.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses and all(address.startswith("data:image/png;base64,") for address in addresses)
    assert {tag for tag, _ in found.tags}.isdisjoint({"link", "iframe", "object", "embed", "a", "form"})


def test_pictures_are_there_without_a_script(tmp_path):
    found = report(written(tmp_path / "run"))
    shades = []
    for tag, attributes in found.tags:
        if tag == "img":
            content = base64.b64decode(attributes["src"].partition(",")[2])
            shades.append((Image.open(io.BytesIO(content)).getpixel((0, 0)), attributes["alt"]))
    assert shades == [(10 * n + 1, f"samples at step {10 * n}") for n in range(4)]
    (slider,) = (attributes for tag, attributes in found.tags if tag == "input")
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "3", "3")


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style></title><b>"])
def test_what_a_run_says_is_text(evil, tmp_path):
    run = written(tmp_path / "run", scores=[3, 2], more={evil: [{evil: evil}], "command": [evil]})
    record = json.loads((run / "options.json").read_text())
    (run / "options.json").write_text(
        json.dumps({**record, "experiment": evil, "options": {evil: evil, "from_run": evil}})
    )
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    own = {
        "name": evil,
        "weights": evil,
        "features": {"network": evil},
        "floor": {"value": 1, "scored": evil},
        "output": evil,
    }
    (run / "evaluations.jsonl").write_text("".join(json.dumps({**line, **own}) + "\n" for line in lines))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text("".join(json.dumps({**row, f"{evil}/loss": 1.0}) + "\n" for row in rows))
    History(run).note("ended", 60, why=evil)
    whole = page([run])
    assert evil not in whole
    assert [tag for tag, _ in Reader(whole).tags if tag == "script"] == ["script"]


def test_members_have_a_line_each_and_their_spread(tmp_path):
    found = report(written(tmp_path / "run", members=3, scores=[9, 5, 3]))
    assert "of 3 GANs: 3 learning" in found.text
    assert "mean ± standard deviation" in found.text and "4 ± 1" in found.text, "of 3, 4 and 5"
    lines = [attributes["class"] for tag, attributes in found.tags if tag == "polyline"]
    assert sum("faint" in each for each in lines) == 4 * 3 and len(lines) == 4 * 4, "four charts"


def test_where_it_came_from_and_was_continued(tmp_path):
    run = written(tmp_path / "run", sessions=[{"step": 0, "command": "python -m x", "machine": {"device": "cpu"}}])
    lines = [
        ("began", 0, 100),
        ("saved", 20, 104),
        ("began", 20, 200),
        ("drawn", 40, 201),
        ("drawn", 60, 203),
        ("ended", 60, 203),
    ]
    (run / "history.jsonl").write_text(
        "".join(
            json.dumps({"event": event, "step": step, "time": time} | ({"why": "done"} if event == "ended" else {}))
            + "\n"
            for event, step, time in lines
        )
    )
    course = read_course(run)
    assert trained_seconds(course) == 7
    assert speed(course) == 80, "20 steps of 8 in 2 seconds"
    found = report(run).text
    assert "trained for 7 s · done · 80 examples a second" in found
    assert "taken up at step 20 1970-01-01 00:03:20 UTC, to step 60 by 1970-01-01 00:03:23 UTC: done" in found
    assert (
        "no end is known" in found
        and "sessions 1 command python -m x" in found
        and "sessions 1 machine device cpu" in found
    )


def test_a_run_that_diverged_says_by_what(tmp_path):
    run = written(tmp_path / "run")
    History(run).note("ended", 41, why="diverged: generator/loss became nan at step 41; no checkpoint was saved before")
    assert "Diverged generator/loss became nan at step 41" in report(run).text


def test_several_runs_are_ranked_where_they_are_alike(tmp_path):
    one, other = written(tmp_path / "one", scores=[9, 5]), written(tmp_path / "other", scores=[9, 4])
    third = written(tmp_path / "third", scores=[1])
    lines = [json.loads(line) | {"samples": 7} for line in (third / "evaluations.jsonl").read_text().splitlines()]
    (third / "evaluations.jsonl").write_text(json.dumps(lines[0]) + "\n")
    found = report(one, other, third, written(tmp_path / "fourth")).text
    ranking = found[found.index("Scores side by side") :]
    assert ranking.index(f"{other} 4") < ranking.index(f"{one} 5")
    assert (
        f"{third} 1" not in ranking
        and "fid is not ranked across protocols, which differ in samples: 100 or 7" in ranking
    )
    assert "fourth has no scores yet" in ranking
    assert "Nothing can be ranked" in report(one, third).text


def test_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no run directory"):
        page([tmp_path])


def test_a_refresh_replaces_the_file(tmp_path):
    run = written(tmp_path / "run")
    (run / "report.html").write_text("old")
    refresh(run)
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert not list(run.glob("*.tmp"))


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl", "history.jsonl"])
def test_lines_that_are_none_are_left_out(name, tmp_path):
    run = written(tmp_path / "run", scores=[9, 5])
    before = (run / name).read_text() if (run / name).exists() else ""
    (run / name).write_text('[1]\n{"step": "x"}\n{"step": -4}\n\x00\n' + before + '{"step": 5, "cut')
    assert "step 60 of 60" in report(run).text


# --- charts -----------------------------------------------------------------------------------------------------------


def drawn(chart):
    root = ET.fromstring(chart)  # noqa: S314 - ours
    (line,) = (each for each in root.iter("polyline"))
    return [tuple(map(float, point.split(","))) for point in line.get("points").split()]


def test_a_line_stands_where_its_numbers_are():
    points = drawn(line_chart("x", [Series("a", [(0, 0.0), (50, 5.0), (100, 10.0)])]))
    assert [x for x, _ in points] == [LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT]
    low, middle, high = (y for _, y in points)
    assert low > middle > high and middle == pytest.approx((low + high) / 2, abs=0.1) and low < HEIGHT


def test_a_logarithmic_axis_has_decades_of_one_length():
    ys = [y for _, y in drawn(line_chart("x", [Series("a", [(0, 1.0), (1, 10.0), (2, 100.0), (3, -1.0)])], log=True))]
    assert len(ys) == 3 and ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11)


@pytest.mark.parametrize("values", [[], [float("nan")], [0.0] * 3, [1e-300, 1e300], [5.0], [-1e9, 3.0]])
@pytest.mark.parametrize("log", [False, True])
def test_odd_numbers_draw_something_or_nothing(values, log):
    chart = line_chart("x", [Series("a", list(enumerate(values)))], log=log)
    assert "nan" not in chart.replace("nano", "") and "inf" not in chart
    if chart:
        ET.fromstring(chart)  # noqa: S314 - ours


def test_one_outlier_leaves_the_others_their_room():
    values = [1.0 + 0.1 * (number % 7) for number in range(200)]
    values[50] = 1e6
    ys = [y for _, y in drawn(line_chart("x", [Series("a", list(enumerate(values)))]))]
    assert max(ys) - sorted(ys)[1] > HEIGHT / 5


def test_a_course_is_smoothed_in_parts():
    assert smoothed([1, 2, 3, 4], [1.0, 3.0, None, 8.0], 2) == [(1.5, 2.0, 1.0, 3.0), (4.0, 8.0, 8.0, 8.0)]
    assert smoothed([1], [None], 2) == []


def test_of_a_long_log_some_rows_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, "x": float("nan")}) + "\n" for step in range(5000)))
    rows = sampled_rows(path, 100)
    assert len(rows) == 100 and (rows[0]["step"], rows[-1]["step"], rows[3]["x"]) == (0, 4999, None)


# --- pictures and what stands beside them -----------------------------------------------------------------------------


def test_large_pictures_are_made_smaller(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 400, 3), np.uint8)
    save_png(tmp_path / "1.png", noise)
    assert (tmp_path / "1.png").stat().st_size > 5 * SIZE
    ((step, address),) = frames({1: tmp_path / "1.png"})
    content = base64.b64decode(address.partition(",")[2])
    with Image.open(io.BytesIO(content)) as picture:
        assert step == 1 and picture.width / picture.height == pytest.approx(2 / 3, abs=0.01)
        assert len(content) <= 2 * SIZE and picture.width >= 128


def test_what_is_no_picture_is_left_out(tmp_path):
    (tmp_path / "1.png").write_bytes(b"GIF89a")
    (tmp_path / "2.png").symlink_to("1.png")
    (tmp_path / "4.png").mkdir()
    assert frames({number: tmp_path / f"{number}.png" for number in (1, 2, 3, 4)}) == []


def test_the_nearest_of_many_are_those_of_all_distances():
    random = np.random.default_rng(0)
    real = random.integers(0, 256, (9000, 4, 4, 1), np.uint8)
    real[5000] = real[8999]
    queries = np.concatenate([real[[3, 8999]], random.integers(0, 256, (6, 4, 4, 1), np.uint8)])
    found = nearest_of_many(queries, real, 3)
    apart = np.sqrt(((queries.reshape(8, 1, -1).astype(float) - real.reshape(1, 9000, -1)) ** 2).sum(-1))
    np.testing.assert_allclose(found.distances, np.sort(apart, 1)[:, :3])
    np.testing.assert_array_equal(found.numbers, np.argsort(apart, 1, kind="stable")[:, :3])
    assert found.distances[0, 0] == 0 and found.numbers[1, :2].tolist() == [5000, 8999]


def test_records_within_records_are_listed():
    found = dict(about({"a": 1, "b": {"c": [1, 2]}, "d": [{"e": None}, {"argv": ["x", "a b"]}], "f": {}}))
    assert found == {"a": "1", "b c": "1, 2", "d 2 argv": "x 'a b'", "f": "{}"}


def test_lengths_of_time():
    assert [duration(seconds) for seconds in (4, 65, 3600, 7322)] == ["4 s", "1 min 5 s", "1 h 0 min", "2 h 2 min"]


def test_the_script_and_style_close_no_tag_by_themselves(tmp_path):
    whole = page([written(tmp_path / "run")])
    assert len(re.findall("</script|</style", whole)) == 2
