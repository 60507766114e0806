from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import dropwhile

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lightning.pytorch.loggers import CSVLogger

from lightning_energy.commands import main as cli
from lightning_energy.curves.energy import Energy
from lightning_energy.results.figures import Device
from lightning_energy.results.formats import FORMATS, FormatError, convert, render
from lightning_energy.results.machine import Machine
from lightning_energy.results.node import Node
from lightning_energy.results.notes import Note
from lightning_energy.results.parse import record_of
from lightning_energy.results.read import read_record
from lightning_energy.results.readable import one_line
from lightning_energy.results.record import Record, make_record
from lightning_energy.results.report import Report
from lightning_energy.results.rows import EPOCH_COLUMNS, EpochRow
from lightning_energy.results.write import write_record
from lightning_energy.scores.metric import Metric
from tests.modules import Working, energy_callback, loader, make_trainer
from tests.training.test_recorder import valid

GPU = Energy(6.0e6, 1.0e4, 3.0e5, 3600.0, 12.0, "measured", 1666.0)
CPU = Energy(1.2e6, 5.0e3, 6.0e4, 3600.0, 0.0, "measured", 333.0)
RUN = Energy.total([GPU, CPU])  # 2 kWh
HEADER = (  # CodeCarbon 3.3.2, output_methods/emissions_data.py
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,"
    "cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,"
    "cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,"
    "longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,gpu_utilization_percent,"
    "ram_utilization_percent,ram_used_gb,on_cloud,pue,wue"
)
WHERE = Machine("Linux 6.1", "x86_64", "AMD EPYC", 8, "550.1", {"lightning-energy": "0.1.0", "python": "3.11.7"})
EPOCH = EpochRow(epoch=0, train_j=7.0e6, total_kwh=1.9, metric=0.91)
NASTY = st.text(max_size=40) | st.sampled_from(
    [
        "a|b",
        "[red]x[/]",
        "</td><script>alert(1)</script>",
        "\\end{table}%$&#_^~{}",
        "`*x*`_y_",
        "\x1b[2J",
        "\ud800",
        "x\ny",
    ]
)
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def report(**changes) -> Report:
    figures = Report(
        outcome="completed",
        stages={"train": RUN},
        session=RUN,
        total=RUN,
        sessions=1,
        devices=[
            Device("NVIDIA H100", "GPU-1", "gpu", GPU, 0.1),
            Device("AMD EPYC", "package-0", "package", CPU, 0.001, "all programs on it"),
        ],
        steps=10,
        step_j=5.0e5,
        samples=100,
        sample_j=7.2e4,
        gaps=CPU,
        metric=Metric("val_acc", 0.91),
        score=1.25,
        score_name="energy_penalized_accuracy(alpha=5)",
    )
    return replace(figures, **changes)


def record(epochs=(EPOCH,), **changes) -> Record:
    return make_record(
        report(**changes), started_unix_s=1.7e9, run_id="abc", what={"module": "nets.Net"}, where=WHERE, epochs=epochs
    )


def in_germany(**changes) -> Record:
    return convert(record(**changes), carbon_intensity="DEU", pue=1.5, price=0.3)


def emissions(of: Record) -> dict:
    (row,) = csv.DictReader(io.StringIO(render(of, "emissions-csv")))
    return row


# ------------------------------------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_a_record(name):
    text = render(in_germany(), name)
    assert text
    assert not text.endswith("\n")
    text.encode("utf-8")


@pytest.mark.parametrize(("name", "title"), [("text", "Energy by stage"), ("markdown", "#### Energy by stage")])
def test_formats_for_people_have_details(name, title):
    brief, details = (render(in_germany(), name, details=d) for d in (False, True))
    assert title not in brief
    assert f"\n{title} (completed)\n" in details
    assert len(details) > 2 * len(brief)


def test_formats_for_programs_have_no_details():
    for name in set(FORMATS) - {"text", "markdown"}:
        with pytest.raises(ValueError, match=f"format='{name}' has no details: give one of text, markdown"):
            render(record(), name, details=True)


def test_an_unknown_format():
    with pytest.raises(ValueError, match=r"format='pdf': give one of text, json, markdown"):
        render(record(), "pdf")


def test_text_and_json_are_the_report_and_the_record():
    assert render(record(), "text") == str(replace(report(), metric_epoch=0, best=record().report.best))
    of = in_germany()
    assert json.loads(render(of, "json")) == of.to_plain()


# ------------------------------------------------------------------------------------------------ converting anew


def test_inputs_are_added_to_those_of_the_record():
    first = convert(record(), carbon_intensity="DEU")
    assert valid(first).derived.co2eq_g == pytest.approx(2 * 380.95)
    assert first.epochs[0].derived["co2eq_g"] == pytest.approx(1.9 * 380.95)
    second = convert(first, pue=1.5)
    assert (second.derived.region, second.derived.pue) == ("DEU", 1.5)
    assert second.derived.co2eq_g == pytest.approx(3 * 380.95)
    third = convert(second, carbon_intensity=100, price=0.5)
    assert (third.derived.region, third.derived.source) == (None, "given by the user")
    assert third.derived.co2eq_g == pytest.approx(300)
    assert third.derived.cost == pytest.approx(1.5)
    assert third.epochs[0].derived["cost"] == pytest.approx(1.9 * 1.5 * 0.5)
    assert convert(third) == third
    assert convert(third, pue=1.0).derived.co2eq_g == pytest.approx(200)


def test_without_any_input_nothing_is_derived():
    assert convert(record()).derived is None
    assert convert(record(), pue=1.0).derived is None
    with pytest.raises(ValueError, match="pue=0.5"):
        convert(record(), pue=0.5)


# ------------------------------------------------------------------------------------------------ csv


def test_a_row_per_epoch():
    frame = pd.read_csv(io.StringIO(render(in_germany(), "csv")))
    assert [*frame.columns] == [*EPOCH_COLUMNS, "co2eq_g", "cost"]
    assert len(frame) == 1
    assert frame.total_kwh[0] == 1.9
    assert frame.val_j.isna()[0]  # unknown, not 0
    assert frame.co2eq_g[0] == pytest.approx(1.9 * 1.5 * 380.95)


def test_a_run_without_epochs_has_a_header():
    assert render(record(epochs=()), "csv") == ",".join(EPOCH_COLUMNS)


def test_the_columns_are_those_of_the_history(tmp_path):
    energy = energy_callback()
    trainer = make_trainer(tmp_path, max_epochs=1, logger=CSVLogger(tmp_path), callbacks=[energy])
    trainer.fit(Working(), loader(8), loader(8))
    assert tuple(energy.history[0]) == EPOCH_COLUMNS


# ------------------------------------------------------------------------------------------------ CodeCarbon's columns


def test_the_columns_are_codecarbons():
    text = render(in_germany(), "emissions-csv")
    assert text.splitlines()[0] == HEADER
    assert len(text.splitlines()) == 2


def test_the_figures_are_in_codecarbons_units():
    row = emissions(in_germany())
    assert float(row["emissions"]) == pytest.approx(2 * 1.5 * 0.38095)  # kg
    assert float(row["emissions_rate"]) == pytest.approx(2 * 1.5 * 0.38095 / 3600)  # kg/s
    assert float(row["energy_consumed"]) == pytest.approx(3.0)  # kWh, with PUE as CodeCarbon has it
    assert float(row["gpu_energy"]) == pytest.approx(6.0 / 3.6 * 1.5)
    assert float(row["cpu_energy"]) == pytest.approx(1.2 / 3.6 * 1.5)
    assert float(row["gpu_power"]) == pytest.approx(1666)  # W of the devices: it multiplies energies only
    assert float(row["cpu_power"]) == pytest.approx(333)
    assert float(row["duration"]) == 3600
    assert (row["country_name"], row["country_iso_code"]) == ("Germany", "DEU")
    assert (row["gpu_count"], row["gpu_model"], row["cpu_count"]) == ("1", "1 x NVIDIA H100", "8")
    assert (row["run_id"], row["project_name"], row["pue"]) == ("abc", "nets.Net", "1.5")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", row["timestamp"])


def test_what_is_not_known_is_empty_and_never_zero():
    row = emissions(record())
    for name in ("emissions", "emissions_rate", "country_name", "ram_energy", "ram_power", "water_consumed", "wue"):
        assert row[name] == ""
    assert float(row["energy_consumed"]) == pytest.approx(2.0)
    frame = pd.read_csv(io.StringIO(render(record(), "emissions-csv")))
    assert frame.emissions.isna()[0]
    nothing = Energy(None, 0.0, 0.0, 60.0, 60.0, "missing")
    row = emissions(convert(record(session=nothing, total=nothing, devices=[]), carbon_intensity="FR"))
    for name in ("emissions", "emissions_rate", "energy_consumed", "cpu_energy", "gpu_energy"):
        assert row[name] == ""


def test_a_time_that_no_calendar_has_is_empty():
    assert emissions(replace(record(), updated_unix_s=1e308))["timestamp"] == ""


def test_devices_of_several_ranks():
    row = emissions(record(ranks=2, devices=[*report().devices[:1], replace(report().devices[1], rank=1)]))
    assert (row["gpu_count"], row["gpu_model"]) == ("1", "1 x NVIDIA H100")
    assert float(row["cpu_energy"]) == pytest.approx(1.2 / 3.6)
    part = convert(record(ranks=2, devices=report().devices[:1], outcome="running"), carbon_intensity=100)
    assert yaml.safe_load(render(part, "model-card"))["co2_eq_emissions"]["hardware_used"].startswith("2 ranks, the")


@pytest.mark.parametrize(
    "changes",
    [
        {"ranks": 2, "devices": report().devices[:1], "outcome": "running"},
        {"absent_ranks": 1},
        {"sessions": 2, "total": replace(RUN, energy_j=9e6)},
        {"devices": [Device("GH200", "GPU-1", "module", RUN, 0.1)]},
    ],
)
def test_parts_that_are_not_of_the_whole_are_empty(changes):
    row = emissions(record(**changes))
    assert {row[f"{part}_{what}"] for part in ("cpu", "gpu", "ram") for what in ("power", "energy")} == {""}
    assert row["energy_consumed"] != ""


def test_a_part_with_an_unknown_device_is_empty():
    lost = Device("NVIDIA H100", "GPU-2", "gpu", Energy(None, 0.0, 0.0, 60.0, 60.0, "missing"), None)
    row = emissions(record(devices=[*report().devices, lost]))
    assert row["gpu_energy"] == ""
    assert float(row["cpu_energy"]) == pytest.approx(1.2 / 3.6)


# ------------------------------------------------------------------------------------------------ model cards


def test_a_model_card_has_grams():
    block = yaml.safe_load(render(in_germany(), "model-card"))["co2_eq_emissions"]
    assert block["emissions"] == pytest.approx(2 * 1.5 * 380.95, rel=1e-5)
    assert block["geographical_location"] == "Germany"
    assert block["hardware_used"] == "1 x NVIDIA H100; CPU: AMD EPYC"
    assert "2 kWh (measured) x PUE 1.5 x 380.95 g/kWh" in block["source"]
    assert "# training_type:" in render(in_germany(), "model-card")
    assert "the energy of 12 s of the training is not known" in render(in_germany(), "model-card")


def test_a_model_card_without_an_intensity_says_how_to_give_one():
    for of in (record(), convert(record(), price=1.0)):
        with pytest.raises(FormatError, match="--carbon-intensity DEU"):
            render(of, "model-card")
    nothing = Energy(None, 0.0, 0.0, 60.0, 60.0, "missing")
    with pytest.raises(FormatError, match="energy of this run is not known"):
        render(convert(record(session=nothing, total=None), carbon_intensity=100), "model-card")


@given(kwh=st.floats(1e-7, 1e6), intensity=st.floats(1, 2000), pue=st.floats(1, 3))
@QUICK
def test_grams_in_cards_are_kilograms_in_codecarbons_file(kwh, intensity, pue):
    run = replace(RUN, energy_j=kwh * 3.6e6)
    of = convert(record(session=run, total=run), carbon_intensity=intensity, pue=pue)
    grams = yaml.safe_load(render(of, "model-card"))["co2_eq_emissions"]["emissions"]
    assert isinstance(grams, float)
    assert grams == pytest.approx(kwh * pue * intensity, rel=1e-5)
    assert float(emissions(of)["emissions"]) == pytest.approx(grams / 1000, rel=1e-5)


# ------------------------------------------------------------------------------------------------ escaping


def named(name: str) -> Record:
    """Wherever a name can stand."""
    of = in_germany(
        devices=[Device(name, "GPU-1", "gpu", GPU, 0.1, note=name)],
        stages={name or "train": RUN},
        metric=Metric(name, 0.5),
        score_name=name,
        notes=[Note("other", name)],
    )
    return replace(of, what={"module": name}, where=replace(of.where, cpu=name))


@given(NASTY)
@QUICK
def test_no_name_breaks_a_markdown_table(name):
    lines = render(named(name), "markdown", details=True).split("\n")
    table = [line for line in lines if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in table] == [5, 5, 5, 7, 7, 7, 7]
    assert "<" not in "".join(lines)


def test_a_command_in_a_note_can_be_copied_from_markdown():
    note = "CPU: only root reads it_. `sudo chmod a+r /sys/class/powercap/*-rapl:*/energy_uj` helps; ``x`` and ` y"
    item = render(record(notes=[Note("other", note)]), "markdown", details=True).splitlines()[-1]
    command = "`sudo chmod a+r /sys/class/powercap/*-rapl:*/energy_uj`"
    assert item == rf"- **Note:** CPU: only root reads it\_. {command} helps; \`\`x\`\` and \` y"


@given(NASTY)
@QUICK
def test_no_name_breaks_latex(name):
    text = render(named(name), "latex")
    lines = [*dropwhile(lambda line: line.startswith("% "), text.split("\n"))]  # comments come first
    code = "\n".join(re.sub(r"\\[{}$&#_%\\]|\{\\char34\}|\$\\(pm|mu)\$", "", line) for line in lines)
    assert code.startswith(r"\begin{table}")
    assert code.count("{") == code.count("}")
    assert not re.search(r"[$#%~^<>|]", code)
    rows = [line for line in text.split("\n") if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [5, 5, 5]
    assert {*re.findall(r"\\([a-z]+)", code)} <= {
        *("begin", "end", "centering", "caption", "hline", "ldots"),
        *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
    }


@given(NASTY)
@example("0\x85")  # a line break in YAML
@QUICK
def test_no_name_breaks_yaml_csv_or_a_terminal(name):
    of = named(name)
    hardware = yaml.safe_load(render(of, "model-card"))["co2_eq_emissions"]["hardware_used"]
    assert hardware.endswith(one_line(f"CPU: {name}"))
    (row,) = csv.DictReader(io.StringIO(render(of, "emissions-csv"), newline=""))
    is_formula = one_line(name).lstrip()[:1] in {*"=+-@"}  # of a spreadsheet, with an apostrophe before it none
    assert row["project_name"] == f"{chr(39) * is_formula}{one_line(name)}"
    assert all(sign.isprintable() or sign == "\n" for sign in render(of, "text", details=True))
    assert record_of(Node(json.loads(render(of, "json")))).notes == [Note("other", name)]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex at hand")
def test_latex_compiles(tmp_path):
    everything = "".join(map(chr, range(0x20, 0x7F))) + "".join(map(chr, range(0xA0, 0x180))) + "µ±…漢\U0001f600"
    table = (
        render(named(everything), "latex") + "\n" + render(named("[x]"), "latex") + "\n" + render(named("*"), "latex")
    )
    page = "\\documentclass{article}\n\\begin{document}\n" + table + "\n\\end{document}\n"
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, errors="replace", check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 1000


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "energy.json"
    write_record(file, record())
    return str(file)


def test_the_command_prints_every_format(path, capsys):
    for name in FORMATS:
        assert cli.main(["report", path, "--format", name, "--carbon-intensity", "DE", "--pue", "1.5"]) == 0
        out, err = capsys.readouterr()
        printed = render(convert(read_record(path), carbon_intensity="DE", pue=1.5), name)
        way = f"1 note: lightning-energy report {path} --details\nRecord: {path}"
        assert out == (printed.replace("1 note: report.details()", way) if name == "text" else printed) + "\n"
        assert not err


def test_the_command_takes_a_number_and_a_price(path, capsys):
    assert cli.main(["report", path, "--carbon-intensity", "100", "--price", "0.25", "--details"]) == 0
    out = capsys.readouterr().out
    assert "CO2e: 200 g (100 g/kWh); cost 0.5 (0.25 per kWh)\n" in out
    assert "Derived, CO2e: 200 g ± " in out
    assert "x 100 g/kWh (given by the user)" in out
    assert "Derived, cost: 0.5 ± " in out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--format", "model-card"], "--carbon-intensity DEU"),
        (["--carbon-intensity", "UK"], r"Did you mean GBR \(United Kingdom\)"),
        (["--carbon-intensity", "0.381"], r"381, not 0\.381"),
        (["--carbon-intensity", "nan"], "carbon_intensity=nan: give a finite number"),
        (["--pue", "0.5"], "pue=0.5"),
        (["--price", "-1"], r"price=-1\.0"),
        (["--details", "--format", "csv"], "format='csv' has no details"),
    ],
)
def test_wrong_inputs_end_with_2_and_a_line(path, arguments, match, capsys):
    assert cli.main(["report", path, *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert re.search(f"^lightning-energy report: .*{match}", err)


@pytest.mark.parametrize("arguments", [["--format", "pdf"], ["--pue", "much"]])
def test_wrong_arguments_end_with_2(path, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["report", path, *arguments])
    assert arguments[1] in capsys.readouterr().err


def test_a_terminal_of_ascii_gets_every_format(path, monkeypatch):
    for name in FORMATS:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(["report", path, "--carbon-intensity", "DE", "--format", name]) == 0
        stdout.flush()
        text = stdout.buffer.getvalue().decode("ascii")
        assert ("+/- 5 % absolute" in text) == (name in {"text", "markdown"})
