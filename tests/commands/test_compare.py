"""The command ``lightning-energy compare``."""

from __future__ import annotations

import json
import os
import sys

import pytest

from lightning_energy import compare
from lightning_energy.commands import main as cli
from tests.commands.calls import HEAVY, call
from tests.records import put


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    put(tmp_path / "small", 1.0, 0.80)
    put(tmp_path / "large", 20.0, 0.95)
    put(tmp_path / "waste", 40.0, 0.90)
    return tmp_path


def names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines() if line.split()[0] in {"small", "large", "waste"}]


def test_a_table(folder, capsys):
    assert cli.main(["compare", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert names(out) == ["small", "large", "waste"]
    assert max(map(len, out.splitlines())) <= 100
    assert "~ large" in out


@pytest.mark.slow
def test_a_comparison_loads_no_torch(folder):
    for form in ("text", "json"):
        called = call("compare", folder / "small", folder / "large", "--format", form)
        assert called.code == 0, called.err
        assert "large" in called.out
        assert not HEAVY & called.loaded


@pytest.mark.slow
def test_a_page_and_a_picture_load_no_torch(folder):
    pytest.importorskip("matplotlib")
    called = call("compare", folder, "--html", folder / "x.html", "--picture", folder / "x.svg")
    assert called.code == 0, called.err
    assert not HEAVY & called.loaded


def test_sorting_and_choices(folder, capsys):
    assert cli.main(["compare", str(folder), "--sort", "accuracy"]) == 0
    assert names(capsys.readouterr().out) == ["large", "waste", "small"]
    assert cli.main(["compare", str(folder), "--sort", "energy", "--reverse", "--reference-kwh", "0.5"]) == 0
    out = capsys.readouterr().out
    assert names(out) == ["waste", "large", "small"]
    assert "reference_kwh=0.5" in out
    put(folder / "small", 1.0, 0.80, epochs=(0.99,))
    assert cli.main(["compare", str(folder), "--epoch", "best", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["front"] == ["small"]


def test_metrics_scales_and_a_value_to_reach(folder, capsys):
    put(folder / "gpt" / "a", 1.0, 30.0, name="val_ppl", mode="min", scale="raw", epochs=(30.0,), epochs_kwh=(0.5,))
    put(folder / "gpt" / "b", 2.0, 20.0, name="val_ppl", mode="min", scale="raw", epochs=(20.0,), epochs_kwh=(1.5,))
    assert cli.main(["compare", str(folder), "--format", "json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["front"] == ["small", "large"]
    assert err.count("(on the command line: --metric val_ppl)") == 2
    arguments = ["compare", str(folder), "--format", "json", "--metric", "val_ppl", "--target", "25"]
    assert cli.main(arguments) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["front"] == ["gpt/a", "gpt/b"]
    assert {run["name"]: run["target_kwh"] for run in plain["runs"] if run["metric"]} == {"gpt/a": None, "gpt/b": 1.5}
    assert cli.main(["compare", str(folder), "--format", "json", "--scale", "percent"]) == 2
    plain = json.loads(capsys.readouterr().out)
    assert next(run["metric"] for run in plain["runs"] if run["name"] == "large") == 0.0095


def test_formats(folder, capsys):
    assert cli.main(["compare", str(folder), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == compare(folder).to_plain()
    assert cli.main(["compare", str(folder), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith(
        "name,path,module,parameters,outcome,metric,metric_name,mode,scale,energy_kwh,"
    )
    assert cli.main(["compare", str(folder), "--format", "markdown"]) == 0
    assert "| small | 0.8000 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "required: RUN"),
        (["x", "--sort", "colour"], "'colour': give one of name, module"),
        (["x", "--reference-kwh", "0"], "'0': give a number above 0"),
        (["x", "--reference-kwh", "much"], "'much': give a number above 0"),
        (["x", "--target", "much"], "'much': give a number"),
        (["x", "--target", "inf"], "'inf': give a number"),
        (["x", "--scale", "%"], "invalid choice"),
        (["x", "--picture", "a.gif"], "'a.gif': give a file that ends in .png or .svg"),
        (["x", "--format", "xml"], "invalid choice"),
    ],
)
def test_wrong_arguments(arguments, match, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["compare", *arguments])
    assert error.value.code == 2
    assert match in capsys.readouterr().err


def test_what_cannot_be_compared_is_told_and_the_rest_is(folder, capsys):
    (folder / "broken").mkdir()
    (folder / "broken" / "energy.json").write_text('{"format": "lightning-energy-record", "ver')
    put(folder / "unscored", 1.0, None)
    assert cli.main(["compare", str(folder), str(folder / "nowhere")]) == 2
    out, err = capsys.readouterr()
    assert names(out) == ["small", "large", "waste"]
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("lightning-energy compare: ") for line in lines)
    assert f"{folder}/nowhere does not exist: give a record" in err
    assert f"{folder}/broken/energy.json is no JSON, or only the beginning of one" in err
    assert f"{folder}/unscored/energy.json is listed, but not compared: it has no metric" in err


def test_one_run_and_none(folder, capsys):
    assert cli.main(["compare", str(folder / "small")]) == 2
    out, err = capsys.readouterr()
    assert names(out) == ["small"]
    assert "is the only run that can be compared: give at least one more" in err
    (folder / "empty").mkdir()
    picture = folder / "none.png"
    assert cli.main(["compare", str(folder / "empty"), "--picture", str(picture)]) == 2
    out, err = capsys.readouterr()
    assert out == "There is no run to compare.\n"
    assert "no energy.json in" in err
    assert not picture.exists()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture(folder, capsys, suffix):
    pytest.importorskip("matplotlib")
    file = folder / "new" / f"picture.{suffix}"
    assert cli.main(["compare", str(folder), "--picture", str(file)]) == 0
    assert file.stat().st_size > 10_000
    assert f"wrote {file}" in capsys.readouterr().err


def test_a_page(folder, capsys):
    file = folder / "new" / "page.html"
    assert cli.main(["compare", str(folder), "--html", str(file)]) == 0
    page = file.read_text(encoding="utf-8")
    assert "<html" in page
    assert all(name in page for name in ("small", "large", "waste"))
    assert f"wrote {file}" in capsys.readouterr().err


def test_files_that_cannot_be_written(folder, capsys, monkeypatch):
    (folder / "file").write_text("in the way")
    assert cli.main(["compare", str(folder), "--picture", str(folder / "file" / "x.png")]) == 2
    out, err = capsys.readouterr()
    assert names(out) == ["small", "large", "waste"]
    assert "x.png cannot be written" in err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["compare", str(folder), "--picture", str(folder / "x.png")]) == 2
    assert "x.png is not written: a picture needs matplotlib: pip install matplotlib" in (capsys.readouterr().err)


def test_the_help_says_when_the_exit_code_is_2(capsys):
    with pytest.raises(SystemExit):
        cli.main(["compare", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Exit code 2: something that was given could not be compared, or a file that was asked for could not" in text


def test_a_reader_that_has_seen_enough(folder, monkeypatch):
    """As in ``lightning-energy compare runs | head``."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(["compare", str(folder)]) == 0
        monkeypatch.undo()
