"""What happened to a run, line by line."""

import pytest

from jaxgan.training.output.history import FILE, History, newest, read_history


def test_lines_are_added_and_read(tmp_path):
    history = History(tmp_path)
    history.note("began", 0)
    history.note("drawn", 5, signs=[{"spread": 1.0}])
    history.note("ended", 5, why="done")
    found = read_history(tmp_path)
    assert [(each["event"], each["step"]) for each in found] == [("began", 0), ("drawn", 5), ("ended", 5)]
    assert found[1]["signs"] == [{"spread": 1.0}] and found[2]["why"] == "done"
    assert found[0]["time"] <= found[2]["time"]


def test_a_line_that_a_kill_cut_off_costs_no_other(tmp_path):
    history = History(tmp_path)
    history.note("began", 0)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"event": "drawn", "st')
    history.note("began", 3)
    assert [each["step"] for each in read_history(tmp_path)] == [0, 3]


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        '{"event": "x", "step": 1, "time": 1}',
        '{"event": "saved", "step": -1, "time": 1}',
        "\xff",
        '{"event": "ended", "step": 1, "time": 1, "why": 5}',
        '{"event": "drawn", "step": 1, "time": 1, "signs": [1]}',
    ],
)
def test_what_is_no_line_of_a_history_is_left_out(line, tmp_path):
    (tmp_path / FILE).write_text(line + "\n")
    History(tmp_path).note("saved", 1)
    assert [each["event"] for each in read_history(tmp_path)] == ["saved"]


def test_of_a_step_that_came_twice_the_later_line_counts():
    events = [{"event": "drawn", "step": step, "signs": [number]} for number, step in enumerate((0, 5, 9, 5))]
    assert [(each["step"], each["signs"]) for each in newest(events, "drawn")] == [(0, [0]), (5, [3]), (9, [2])]


def test_there_may_be_no_file(tmp_path):
    assert read_history(tmp_path) == []
