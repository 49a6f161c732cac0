"""The command that writes reports."""

import json
import shutil

import pytest
from painted_runs import build, run_of
from written_runs import written

from jaxgan.training import UsageError
from scripts import report


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("painted"))


def test_one_run_has_its_report_in_its_directory(painted, monkeypatch, capsys):
    monkeypatch.setattr(report, "open_checkpoint", lambda directory, options: _open(directory))
    (painted / "neighbours.png").unlink()
    report.run(report.Options(runs=(painted,)))
    text = (painted / "report.html").read_text()
    assert "samples above the nearest of 40 training images" in text and capsys.readouterr().out.endswith(
        "report.html\n"
    )


def _open(directory):
    from jaxgan.training import open  # noqa: A004 - the library's name for it

    return open(directory, build=build)


def test_a_report_is_whole_where_a_run_cannot_be_opened(tmp_path, capsys):
    runs = written(tmp_path / "one", scores=[9, 5]), written(tmp_path / "other", scores=[9, 4])
    report.run(report.Options(runs=runs, out=tmp_path / "both.html"))
    assert "Scores side by side" in (tmp_path / "both.html").read_text()
    said = capsys.readouterr()
    assert "no nearest training images: " in said.err and said.out.endswith("both.html\n")


def test_several_runs_have_it_where_the_command_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report.run(report.Options(runs=(written(tmp_path / "one"), written(tmp_path / "other"))))
    assert (tmp_path / "report.html").exists()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no run directory: it has no options"):
        report.run(report.Options(runs=(tmp_path,)))
    with pytest.raises(UsageError, match=r"--out must .*\.html"):
        report.Options(runs=(tmp_path,), out=tmp_path / "a.png")


def test_a_run_that_anybody_may_have_written_executes_nothing(painted, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(painted, run)
    record = json.loads((run / "options.json").read_text())
    (run / "options.json").write_text(json.dumps({**record, "experiment": str(tmp_path / "evil.py")}))
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    report.run(report.Options(runs=(run,)))
    assert "is none of jaxgan's" in capsys.readouterr().err and (run / "report.html").exists()
