"""A log that was damaged: what is whole in it is read and continued, and nothing of it is lost."""

import json
import os

import numpy as np
import pytest
from damage import with_changes

from jaxgan.training.output.log import Log, last_step, read_rows

ROWS = [
    {
        "step": step,
        "images": 8 * step,
        "discriminator/loss": 1.25,
        "generator/loss": None,
        "members": {"loss": [1, None]},
    }
    for step in (10, 20, 30)
]
WHOLE = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
ODD = {
    "no UTF-8": b"\xff",
    "NUL": bytes(100),
    "number": b"5",
    "list": b"[1]",
    "other object": b'{"a": 1}',
    "text for a step": b'{"step": "x"}',
    "truth for a step": b'{"step": true}',
    "fraction for a step": b'{"step": 1.5}',
    "negative step": b'{"step": -1}',
    "no step": b'{"step": null}',
    "infinite step": b'{"step": Infinity}',
    "large step": b'{"step": 1e999}',
    "long step": b'{"step": 1' + b"0" * 400 + b"}",
    "very long step": b'{"step": 1' + b"0" * 5000 + b"}",
    "text for a value": b'{"step": 15, "loss": "x"}',
    "list for a value": b'{"step": 15, "loss": [1]}',
    "long value": b'{"step": 15, "loss": 1' + b"0" * 400 + b"}",
    "odd members": b'{"step": 15, "members": {"loss": 1}}',
    "odd member": b'{"step": 15, "members": {"loss": ["x"]}}',
    "deep": b"[" * 100_000,
    "megabytes": b'{"step": 15, "loss": "' + b"x" * 3_000_000 + b'"}',
    "UTF-16": '{"step": 15}'.encode("utf-16"),
}

KINDS = ["pipe", "folder", "link"]


def go_on(directory, done=30):
    log = Log(directory, done, 8)
    log.rows(done + 10, {"loss": np.ones(1)})
    log.close()
    return [row["step"] for row in read_rows(directory / "metrics.jsonl")]


@pytest.mark.parametrize("line", ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_line_that_is_no_row_is_left_out_said_and_kept(line, place, tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    lines = WHOLE.splitlines(keepends=True)
    path.write_bytes(damaged := b"".join([*lines[:place], line + b"\n", *lines[place:]]))
    assert read_rows(path) == ROWS and last_step(tmp_path) == 30
    assert path.read_bytes() == damaged, "who reads it changes nothing"
    assert go_on(tmp_path) == [10, 20, 30, 40]
    kept = tmp_path / "metrics.jsonl.damaged"
    expected = f"warning: 1 line of {path} can't be read and is left out; the file as it was is {kept}\n"
    assert capsys.readouterr().err == expected and kept.read_bytes() == damaged
    assert go_on(tmp_path, 40) == [10, 20, 30, 40, 50] and capsys.readouterr().err == ""
    path.write_bytes(damaged + damaged)
    go_on(tmp_path)
    assert "2 lines of" in capsys.readouterr().err
    assert (tmp_path / "metrics.jsonl.damaged-2").read_bytes() == damaged + damaged


@pytest.mark.parametrize("end", [b'{"step": 40, "los', b"\0" * 50, b'{"step": 4', b"\xff"])
def test_what_a_kill_left_unfinished_is_dropped_without_a_word(end, tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_bytes(WHOLE + end)
    assert go_on(tmp_path) == [10, 20, 30, 40]
    assert capsys.readouterr().err == "" and not list(tmp_path.glob("*.damaged*"))


def test_numbers_that_json_has_none_of_are_missing_values(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 10, "a": NaN, "b": -Infinity, "c": 1e999, "d": 2.5}\n')
    assert read_rows(tmp_path / "metrics.jsonl") == [{"step": 10, "a": None, "b": None, "c": None, "d": 2.5}]


def test_any_bit_or_byte_of_a_log_may_change(tmp_path):
    """A row whose own line was not touched is there afterwards, as it was."""
    random, path = np.random.default_rng(0), tmp_path / "metrics.jsonl"
    for flips in [1] * 300 + [5] * 50:
        content = with_changes(WHOLE, flips, random)
        path.write_bytes(content)
        rows = read_rows(path)
        untouched = [row for row in ROWS if json.dumps(row).encode() in content.split(b"\n")]
        assert all(row in rows for row in untouched) and len(rows) <= 4
        assert isinstance(last_step(tmp_path), int)
    path.write_bytes(bytes(random.integers(0, 256, 100_000, np.uint8)))
    assert read_rows(path) == []
    assert go_on(tmp_path, 0) == [10]


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "folder", "link"]
)
def test_what_is_no_file_is_neither_waited_for_nor_followed(make, tmp_path):
    make(tmp_path / "metrics.jsonl")
    for use in (lambda: read_rows(tmp_path / "metrics.jsonl"), lambda: Log(tmp_path, 0, 8)):
        with pytest.raises(OSError, match=r"metrics\.jsonl"):
            use()
