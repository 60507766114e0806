from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary

from lightning_energy import EnergyCallback, EnergyMonitor
from lightning_energy.curves.energy import Energy
from lightning_energy.results.figures import Best, Device
from lightning_energy.results.notes import Note
from lightning_energy.results.readable import one_line
from lightning_energy.results.rendering import encodable, print_report, show
from tests.modules import Classifier, loader, make_trainer, meter
from tests.results.test_formats import GPU, NASTY, QUICK, RUN, in_germany, named, report

TITLE = "Energy: 7.2 MJ (2 kWh) in 1.00 h, measured on NVIDIA H100 + AMD EPYC"
BEGINNING = "Energy: "


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


def test_plain_text_is_short():
    assert str(report()).split("\n") == [
        TITLE,
        "  train  7.2 MJ  100 %   72 kJ/sample, 500 kJ/step, 17 % of training between steps, 12.00 s missing",
        "Accuracy: 0.9100 (val_acc); score 1.25",
        "Missing: the energy of 12.00 s of 1.00 h; more was spent than the figures say",
        "Meter: ± 0.2 % repeatability, ± 5 % absolute; runs differ by more",
        "1 note: report.details()",
    ]


def test_the_details_say_it_all():
    text = report().details()
    for line in (
        TITLE,
        "train                         7.2 MJ     359.9 kJ      1.00 h   1.999 kW  measured, 12.00 s missing",
        "Training in all: 7.2 MJ ± 360 kJ (2 kWh)",
        "Per training step: 500 kJ (mean of 10 steps, each from its start to the start of the next)",
        "Per training sample: 72 kJ (mean of 100, gaps included)",
        "Of train, between steps: 1.2 MJ ± 60 kJ in 1.00 h",
        "Score: 1.2500 = energy_penalized_accuracy(alpha=5) of val_acc = 0.9100",
        "Covers: NVIDIA H100 (gpu, measured, updated every 100 ms); AMD EPYC (package, measured, updated every 1 ms)",
        "Missing: the energy of 12.00 s; no figure includes it",
        "Note: AMD EPYC: all programs on it",
    ):
        assert line in text.split("\n")
    assert "Derived" not in text
    assert "report.details()" not in text


def test_details_of_a_run_without_a_score():
    whole = Energy.total([GPU])
    changes = {"session": RUN, "total": Energy.sequence([whole, whole]), "sessions": 2, "score": None}
    text = report(**changes, best=Best(1, 0.93, None, 1.5), no_score="score=None switched it off").details()
    assert "fit, 2 sessions" in text
    assert "Metric: val_acc = 0.9100" in text
    assert "Best epoch: 1, counted from 0: 0.9300, after 1.5 kWh" in text
    assert text.count("No score: score=None switched it off") == 2
    clean = Energy(1.0, 0.1, 0.1, 1.0, 0.0, "measured", 1.0)
    assert "Missing: nothing" in report(session=clean, total=clean).details()
    lower = report(session=clean, total=clean, notes=[Note("after_checkpoint", "The total is a lower bound")]).details()
    assert "Missing: what the notes below say; the total is a lower bound" in lower
    both = report(notes=[Note("after_checkpoint", "The total is a lower bound")]).details()
    assert "Missing: the energy of 12.00 s; no figure includes it; and what the notes below say; the total is a" in both


def test_details_of_one_ranks_devices_and_of_all():
    of_one = report(ranks=2, outcome="running")
    assert "Covers the devices of 2 ranks, of which this one has: NVIDIA H100 (gpu" in of_one.details()
    gpu, cpu = of_one.devices
    for outcome in ("running", "interrupted"):  # put together from what both ranks left
        of_all = replace(of_one, outcome=outcome, devices=[gpu, replace(gpu, rank=1), cpu]).details()
        assert "Covers, read by 2 ranks: 2 x NVIDIA H100 (gpu" in of_all


def test_long_names_stay_in_their_column():
    brief, details = report(stages={"a stage with a very long name": RUN}).details().split("\n\n")
    lines = details.split("\n")[1:4]
    assert len({line.index("J") for line in lines[1:]} | {lines[0].index("energy") + len("energ")}) == 1
    assert "  a stage with a very long name  7.2 MJ  100 %   12.00 s missing" in brief


def test_derived_figures_stand_with_their_inputs():
    text = in_germany().report.details()
    it = "2 kWh x PUE 1.5"
    assert f"Derived, facility: 3 kWh = {it}\n" in text
    source = "380.95 g/kWh (DEU, 2023; Ember, Our World in Data, CC BY 4.0)"
    assert f"Derived, CO2e: 1143 g ± 57 g by the energy alone = {it} x {source}\n" in text
    assert f"Derived, cost: 0.9 ± 0.045 = {it} x 0.3 per kWh\n" in text


def test_the_details_of_a_test_say_why_its_logged_energy_is_less():
    text = report(stages={"test": RUN}).details()
    assert "Of test: all until the end of the run; energy/test_j ends where it is logged, after the last batch" in text


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
    assert cells.tags.count("tr") == 1
    assert cells.texts[cells.tags.index("strong")] == TITLE
    assert {"7.2 MJ", "100 %", "Accuracy", "0.9100 (val_acc); score 1.25"} <= {*cells.texts}
    two = parsed(report(total=Energy.sequence([RUN, RUN]), sessions=2)._repr_html_())
    assert two.texts[two.tags.index("br")] == "This session alone: 7.2 MJ (2 kWh) in 1.00 h, by stage:"


@given(NASTY)
@QUICK
def test_no_name_breaks_html(name):
    cells = parsed(named(name).report._repr_html_())
    assert {*cells.tags} == {*("div", "strong", "table", "tbody", "tr", "td", "dl", "dt", "dd")}
    assert any(one_line(name) in text for text in cells.texts)


# ------------------------------------------------------------------------------------------------ rich


def test_a_terminal_gets_a_rich_table(monkeypatch):
    terminal = sit_down(monkeypatch)
    device = Device("[red]x[/]", "GPU-1", "gpu", GPU, 0.1)
    assert show(report(devices=[device])) == ""
    brief = terminal.getvalue()
    assert "\x1b[1m" in brief
    assert "measured on [red]x[/]" in brief  # a name, not a colour
    for expected in ("7.2 MJ", "100 %", "72 kJ/sample", "Missing"):
        assert expected in brief
    assert "━" not in brief
    print_report(report(devices=[device]), details=True)
    details = terminal.getvalue().removeprefix(brief)
    assert "━" in details
    for expected in ("this session", "7.2 MJ", "Per training sample", "72 kJ", "7.2 MJ ± 360 kJ (2 kWh)", "Missing"):
        assert expected in details


@pytest.mark.parametrize("columns", [40, 79, 80, 200])
def test_no_width_loses_a_word(columns, monkeypatch):
    terminal = sit_down(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_report(report(), details=True)
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    if columns >= 80:
        assert max(map(len, text.split("\n"))) <= columns
        assert re.search("train +│ 7.2 MJ │ 359.9 kJ │ 1.00 h │ 1.999 kW │ measured", text)
        assert re.search("  train +7.2 MJ +100 % +72 kJ/sample", text)
    labels = {"training", "step", "sample"}
    words = {word.strip(":") for word in report().details().split()} - labels
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
sys.stdout.reconfigure(encoding="ascii")
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
def test_printing_never_ends_a_training(tmp_path, warm):
    done = warm.run(STRANGE, tmp_path)
    assert done.stderr.endswith("all fitted"), done.stderr
    assert done.stdout.count(BEGINNING) == 1
    assert "Meter: +/- " in done.stdout
    assert done.stderr.count("the report cannot be printed (ValueError: ") == 1
    assert "it is in callback.report" in done.stderr


def test_a_monitor_goes_on_as_well(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken())
    with (
        pytest.warns(UserWarning, match="EnergyMonitor: the report cannot be printed"),
        EnergyMonitor(meters=meter(), record=False) as m,
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
    assert (BEGINNING in capsys.readouterr().out) == printed


@pytest.mark.parametrize("value", ["no", 1])
def test_a_wrong_wish_is_told(value):
    with pytest.raises(TypeError, match=f"print_report={value!r}: give True, False, or None"):
        EnergyCallback(print_report=value)


@pytest.mark.parametrize("summary", [ModelSummary, RichModelSummary])
def test_a_summary_of_ones_own_is_no_quiet_trainer(tmp_path, capsys, summary):
    energy = EnergyCallback(meters=meter())
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy, summary()], enable_model_summary=True)
    trainer.fit(Classifier(), loader(), loader(8))
    assert BEGINNING in capsys.readouterr().out


def test_a_second_trainer_is_asked_anew(tmp_path, capsys):
    energy = EnergyCallback(meters=meter())
    for summary in (True, False):
        trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy], enable_model_summary=summary)
        trainer.fit(Classifier(), loader(), loader(8))
        assert (BEGINNING in capsys.readouterr().out) == summary
