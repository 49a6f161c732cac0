"""Records of scores in a file that was damaged."""

import json
import os

import numpy as np
import pytest
from damage import with_changes

from jaxgan.training import UsageError
from jaxgan.training.reporting import comparison
from jaxgan.training.scoring.judge import append, read
from jaxgan.training.scoring.verdict import RANKED_BY, best, collapse, unlearned

RECORDS = [
    {
        "key": key,
        "name": key,
        "value": value / step,
        "std": None,
        "metric": "fid",
        "version": 1,
        "samples": 64,
        "real": 64,
    }
    | {"constants": {}, "features": {"network": "n", "sha256": "0"}, "dataset": "digits", "step": step, "seed": 0}
    | {"member": None, "weights": "ema", "during_training": "0123456789abcdef", "records_of_step": 3}
    for step in (10, 20, 30)
    for key, value in (("fid", 300.0), ("distinct", 10.0), ("spread", 9.0))
]
WHOLE = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
ODD = [b"\xff", b"5", b"[1]", b"null", b"{}", bytes(60), b"[" * 100_000]
ODD += [
    json.dumps(RECORDS[0] | change).encode()
    for change in (
        *({"key": 5}, {"name": None}, {"value": "x"}, {"value": [1]}, {"step": 1.5}, {"step": True}, {"step": None}),
        *({"member": "x"}, {"samples": "x"}, {"real": None}, {"records_of_step": "x"}, {"std": {}}, {"step": 10**400}),
    )
]


def as_readers_do(directory):
    """All that is made of the records anywhere."""
    records = read(directory)
    for metric in RANKED_BY:
        best(records, metric)
        collapse(records, metric)
    unlearned(records)
    lines = comparison.lines_of(directory)
    comparison.alike(lines)
    for line in lines:
        comparison.heading([line])
        assert line.text
    return records


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "Run", lambda path: type("Run", (), {"record": lambda self: {}})())
    (tmp_path / "evaluations.jsonl").write_bytes(WHOLE)
    return tmp_path


@pytest.mark.parametrize("number", range(len(ODD)))
def test_a_line_that_is_no_record_is_left_out_said_once_and_stays(number, run, capsys):
    path = run / "evaluations.jsonl"
    path.write_bytes(damaged := ODD[number] + b"\n" + WHOLE)
    assert as_readers_do(run) == RECORDS
    assert capsys.readouterr().err == f"warning: 1 line of {path} can't be read, left out\n"
    append(run, RECORDS[:1])
    assert path.read_bytes() == damaged + json.dumps(RECORDS[0]).encode() + b"\n"
    assert read(run) == [*RECORDS, RECORDS[0]]


def test_any_bit_or_byte_of_the_records_may_change(run):
    random, path = np.random.default_rng(1), run / "evaluations.jsonl"
    for flips in [1] * 300 + [10] * 50:
        content = with_changes(WHOLE, flips, random)
        path.write_bytes(content)
        records = as_readers_do(run)
        lines = content.split(b"\n")
        assert all(record in records for record in RECORDS if json.dumps(record).encode() in lines)


def test_a_value_that_is_no_number_is_none_and_is_not_ranked(run):
    first, *others = RECORDS[::3]
    append(run, [first | {"value": float("nan")}, *others])
    records = as_readers_do(run)
    assert records[9]["value"] is None and best(records[9:], "fid").step == 30


def test_what_a_kill_left_unfinished_is_ended_before_the_next_record(tmp_path):
    append(tmp_path, RECORDS[:1])
    with (tmp_path / "evaluations.jsonl").open("a") as file:
        file.write('{"key": "fi')
    assert read(tmp_path) == RECORDS[:1]
    append(tmp_path, RECORDS[1:2])
    assert read(tmp_path) == RECORDS[:2]


def test_records_are_synced_when_they_are_written(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    append(tmp_path, RECORDS)
    assert (tmp_path / "evaluations.jsonl").stat().st_size in synced


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("victim")], ids=["pipe", "folder", "link"]
)
def test_what_is_no_file_is_refused_in_a_line(make, tmp_path):
    (tmp_path / "victim").write_text("precious\n")
    make(tmp_path / "evaluations.jsonl")
    with pytest.raises(UsageError, match=r"can't read .*evaluations\.jsonl: .*; move it away"):
        read(tmp_path)
    with pytest.raises(OSError, match=r"evaluations\.jsonl"):
        append(tmp_path, RECORDS)
    assert (tmp_path / "victim").read_text() == "precious\n"
