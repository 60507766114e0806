from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary

from lightning_energy import EnergyCallback, EnergyMonitor
from lightning_energy.curves.energy import Energy
from lightning_energy.results.figures import Device
from lightning_energy.results.readable import one_line
from lightning_energy.results.rendering import encodable, show
from tests.modules import Classifier, loader, make_trainer, meter
from tests.results.test_formats import GPU, NASTY, QUICK, RUN, in_germany, named, report

TITLE = "Energy of this run (completed)"


class Terminal(io.StringIO):
    """What a person sits at."""

    def isatty(self) -> bool:
        return True


def sit_down(monkeypatch) -> Terminal:
    """Within the test: pytest sets its own stdout when a test begins."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "JUPYTER_COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    return screen


# ------------------------------------------------------------------------------------------------ plain text


def test_plain_text_says_it_all():
    text = str(report())
    for line in (
        "train                         7.2 MJ     359.8 kJ      1.00 h   1.999 kW  measured, 12.00 s missing",
        "fit in all: 2 kWh ± 0.1 kWh, validation and sanity check included",
        "Per training step: 500 kJ (mean of 10 steps, each from its start to the start of the next)",
        "Per training sample: 72 kJ (mean of 100, gaps included)",
        "Of train, between steps: 1.2 MJ in 1.00 h",
        "Score: 1.2500 = energy_penalized_accuracy(alpha=5) of val_acc = 0.9100",
        "Covers: NVIDIA H100 (gpu, measured, updated every 100 ms); AMD EPYC (package, measured, updated every 1 ms)",
        "Missing: the energy of 12.00 s; no figure includes it",
        "Note: AMD EPYC: all programs on it",
    ):
        assert line in text.split("\n")
    assert "Derived" not in text


def test_nothing_missing_and_no_score():
    whole = Energy.total([GPU])
    text = str(report(session=RUN, total=Energy.sequence([whole, whole]), sessions=2, score=None))
    assert "fit, 2 sessions" in text
    assert "Metric: val_acc = 0.9100" in text
    clean = Energy(1.0, 0.1, 0.1, 1.0, 0.0, "measured", 1.0)
    assert "Missing: nothing" in str(report(session=clean, total=clean))


def test_devices_of_one_rank_and_of_all():
    of_one = report(ranks=2, outcome="running")
    assert "Covers the devices of 2 ranks, of which this one has: NVIDIA H100 (gpu" in str(of_one)
    gpu, cpu = of_one.devices
    for outcome in ("running", "interrupted"):  # put together from what both ranks left
        of_all = str(replace(of_one, outcome=outcome, devices=[gpu, replace(gpu, rank=1), cpu]))
        assert "Covers, read by 2 ranks: 2 x NVIDIA H100 (gpu" in of_all


def test_long_names_stay_in_their_column():
    lines = str(report(stages={"a stage with a very long name": RUN})).split("\n")[1:4]
    assert len({line.index("J") for line in lines[1:]} | {lines[0].index("energy") + len("energ")}) == 1


def test_derived_figures_stand_with_their_inputs():
    text = str(in_germany().report)
    it = "2 kWh x PUE 1.5"
    assert f"Derived, facility: 3 kWh = {it}\n" in text
    source = "380.95 g/kWh (DEU, 2023; Ember, Our World in Data, CC BY 4.0)"
    assert f"Derived, CO2e: 1143 g ± 57 g by the energy alone = {it} x {source}\n" in text
    assert f"Derived, cost: 0.9 ± 0.045 = {it} x 0.3 per kWh\n" in text


# ------------------------------------------------------------------------------------------------ html


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        assert not attrs
        self.tags.append(tag)
        self.texts.append("")

    def handle_data(self, data) -> None:
        self.texts[-1] += data


def parsed(html: str) -> Cells:
    cells = Cells()
    cells.feed(html)
    cells.close()
    return cells


def test_notebooks_get_a_table():
    cells = parsed(report()._repr_html_())
    assert cells.tags.count("tr") == 3
    assert cells.texts[cells.tags.index("strong")] == TITLE
    assert {"7.2 MJ", "359.8 kJ", "fit in all", "2 kWh ± 0.1 kWh, validation and sanity check included"} <= {
        *cells.texts
    }


@given(NASTY)
@QUICK
def test_no_name_breaks_html(name):
    cells = parsed(named(name).report._repr_html_())
    assert {*cells.tags} == {*("div", "strong", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd")}
    assert cells.texts.count(one_line(name)) >= 1


# ------------------------------------------------------------------------------------------------ rich


def test_a_terminal_gets_a_rich_table(monkeypatch):
    terminal = sit_down(monkeypatch)
    device = Device("[red]x[/]", "GPU-1", "gpu", GPU, 0.1)
    assert show(report(devices=[device])) == ""
    text = terminal.getvalue()
    assert "\x1b[1m" in text
    assert "━" in text
    assert "[red]x[/] (gpu" in text  # a name, not a colour
    for expected in (TITLE, "this run", "7.2 MJ", "Per training sample", "72 kJ", "2 kWh ± 0.1 kWh", "Missing"):
        assert expected in text


@pytest.mark.parametrize("columns", [40, 79, 80, 200])
def test_no_width_loses_a_word(columns, monkeypatch):
    terminal = sit_down(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert show(report()) == ""
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    if columns >= 80:
        assert max(map(len, text.split("\n"))) <= columns
        assert re.search("train +│ 7.2 MJ │ 359.8 kJ │ 1.00 h │ 1.999 kW │ measured", text)
    words = {word.strip(":") for word in str(report()).split()} - {"training", "step", "sample"}  # of labels
    assert words <= {word.strip(":") for word in text.split()}


def test_without_rich_a_terminal_gets_plain_text(monkeypatch):
    terminal = sit_down(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert show(report()) == ""
    assert terminal.getvalue() == f"{report()}\n"


def test_what_is_no_terminal_gets_plain_text(capsys):
    assert show(report()) == ""
    assert capsys.readouterr().out == f"{report()}\n"


# ------------------------------------------------------------------------------------------------ a stdout that refuses


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("kind", ["closed", "broken", "odd"])
def test_a_stdout_that_refuses_is_told(kind, monkeypatch):
    stdout = {"closed": io.StringIO(), "broken": Broken(), "odd": object()}[kind]
    if kind == "closed":
        stdout.close()
    monkeypatch.setattr(sys, "stdout", stdout)
    assert "the report cannot be printed (" in show(report())


def test_no_stdout_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert show(report()) == ""


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", "+/- u... ?"), ("latin-1", "+/- \xb5... ?"), ("utf-8", "± µ… 漢")]
)
def test_letters_that_an_encoding_does_not_have_are_spelled(encoding, expected, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    if encoding == "latin-1":
        expected = expected.replace("\xb5", "u")
    assert encodable("± µ… 漢") == expected


STRANGE = """
import sys, warnings
from tests.modules import *
warnings.simplefilter("ignore")
def fit(**kwargs):
    energy = EnergyCallback(meters=meter(), print_report=True, carbon_intensity="FR")
    make_trainer(sys.argv[1], max_epochs=1, callbacks=[energy]).fit(Classifier(), loader(), loader(8))
    assert energy.report.outcome == "completed"
fit()
sys.stdout.flush()
sys.stdout.close()
warnings.simplefilter("always")
fit()
sys.stdout = None
fit()
sys.stderr.write("all fitted")
"""


@pytest.mark.slow
def test_printing_never_ends_a_training(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STRANGE, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.stderr.endswith("all fitted"), done.stderr
    assert done.stdout.count(TITLE) == 1
    assert "kWh +/- " in done.stdout
    assert done.stderr.count("the report cannot be printed (ValueError: ") == 1
    assert "it is in callback.report" in done.stderr


def test_a_monitor_goes_on_as_well(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken())
    with (
        pytest.warns(UserWarning, match="EnergyMonitor: the report cannot be printed"),
        EnergyMonitor(meters=meter()) as m,
    ):
        pass
    assert m.report.outcome == "completed"


# ------------------------------------------------------------------------------------------------ quietness


@pytest.mark.parametrize(
    ("enabled", "wanted", "printed"),
    [
        ((), None, False),
        (("progress_bar",), None, True),
        (("model_summary",), None, True),
        ((), True, True),
        (("progress_bar", "model_summary"), False, False),
    ],
)
def test_it_is_as_quiet_as_the_trainer(tmp_path, capsys, enabled, wanted, printed):
    energy = EnergyCallback(meters=meter(), print_report=wanted)
    settings = {f"enable_{name}": True for name in enabled}
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy], **settings)
    trainer.fit(Classifier(), loader(), loader(8))
    assert (TITLE in capsys.readouterr().out) == printed


@pytest.mark.parametrize("value", ["no", 1])
def test_a_wrong_wish_is_told(value):
    with pytest.raises(TypeError, match=f"print_report={value!r}: give True, False, or None"):
        EnergyCallback(print_report=value)


@pytest.mark.parametrize("summary", [ModelSummary, RichModelSummary])
def test_a_summary_of_ones_own_is_no_quiet_trainer(tmp_path, capsys, summary):
    energy = EnergyCallback(meters=meter())
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy, summary()], enable_model_summary=True)
    trainer.fit(Classifier(), loader(), loader(8))
    assert TITLE in capsys.readouterr().out


def test_a_second_trainer_is_asked_anew(tmp_path, capsys):
    energy = EnergyCallback(meters=meter())
    for summary in (True, False):
        trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy], enable_model_summary=summary)
        trainer.fit(Classifier(), loader(), loader(8))
        assert (TITLE in capsys.readouterr().out) == summary
