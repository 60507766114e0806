"""A run as one HTML page: its figures and charts, in words and in a browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lightning_energy
from lightning_energy.commands.main import main
from lightning_energy.curves.power_series import PowerSeries
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.meters.clock import Anchor
from lightning_energy.results.charts import Axis, Bar, Dot, bars, dots, power_over_time, time_axis
from lightning_energy.results.markup import clean
from lightning_energy.results.rows import EpochPhase, EpochRow
from lightning_energy.results.write import write_record
from tests.records import energy, record
from tests.results.runs import full

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())
EVIL = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)> @@title & \u202e"


class Document(HTMLParser):
    """A page taken apart: elements with their attributes, texts by element, and the columns of tables by heading."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.texts.append((self.elements[-1][0] if self.elements else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page.split("</style>")[1]))


def with_power(power: PowerSeries) -> Record:
    made = record(1.0, 0.9)
    return replace(made, devices=[replace(made.devices[0], power=power)])


def headings(page: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page)


def test_a_page_has_every_figure_and_a_table_for_every_chart():
    page = full().to_html()
    assert headings(page) == [
        "Read with care", "Energy by stage", "Power over time", "Accuracy against energy", "Joules by stage and epoch",
        "Devices", "What was missing", "Notes", "All figures",
    ]  # fmt: skip
    text = plain(page)
    for words in (
        "Energy: 4.32 MJ (1.2 kWh) in 1.00 h over 2 sessions",
        "train 2.52 MJ 126 kJ 1.00 h 700 W measured, 4.2 min missing",
        "Classifier 0 30.0 min 4.3 min",
        "Classifier: its counter could not be read for 256 s",
        "A dashed line: the run was resumed",
        "A shaded band: nothing is known.",
        "Outside of epochs: 72 kJ of this session (2 %).",
        "The large point is the best epoch.",
        "mean 10.1 W, highest 11 W (mean of 5.12 s)",
    ):
        assert words in text, words
    document = Document(page)
    assert {a["aria-label"] for a in document.all("div") if a.get("role") == "region"} == {
        "Energy by stage", "Table of epochs", "Devices", "What was missing",
    }  # fmt: skip
    labels = [a["aria-label"] for a in document.all("svg") if a.get("role") == "img"]
    assert [label.split(":")[0] for label in labels] == [
        "Power of Classifier over time",
        "Power of AMD EPYC 7742 over time",
        "Power of DRAM over time",
        "val_acc of 11 epochs against the energy of the training until then",
        "Joules of training and validation, a bar for each epoch",
    ]
    assert "epoch 11: training 188 kJ, validation 24 kJ" in text


def test_nothing_is_loaded_and_nothing_of_others_becomes_markup():
    page, other = full(EVIL).to_html(), full().to_html()
    assert "<script" not in page
    assert {tag for tag, _ in Document(page).elements} == {tag for tag, _ in Document(other).elements}
    for tag, attributes in Document(page).elements:
        assert not [a for a in attributes if a.startswith("on") or a in {"src", "style", "srcset"}], tag
        assert attributes.get("href", "data:,") == "data:,"
    (policy,) = (a["content"] for a in Document(page).all("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"\w+://|@import|url\(", page)


@given(st.text(min_size=1))
def test_any_title_is_text(title):
    page = record(1.0, 0.9).to_html(title=title)
    assert page.encode()
    assert (Document(page).texts.count(("bdi", clean(title))) >= 1) or "&" in title or "<" in title or "\r" in title


def test_what_a_record_lacks_has_no_section():
    page = record(1.0, None, devices=[]).to_html()
    assert headings(page) == ["Energy by stage", "Power over time", "All figures"]
    assert "Not drawn: the record does not have it." in page
    estimated = record(1.0, 0.9, spent={"quality": "estimated"})
    assert "Not drawn: it is that of a model, which would look like data." in estimated.to_html()
    unknown = replace(record(None, 0.9), epochs=[EpochRow(epoch=0), EpochRow(epoch=1, metric=0.5, total_kwh=0.0)])
    assert "The joules of single epochs are not known." in unknown.to_html()
    known = replace(unknown, epochs=[EpochRow(epoch=0), EpochRow(epoch=1, train_j=2.0)])
    assert "epoch 0: training unknown, validation unknown" in known.to_html()


@pytest.mark.parametrize(
    ("power", "facts"),
    [
        (PowerSeries(0, 1.0, (None, None), clock=(Anchor(0, 0),)), "nothing is known"),
        (PowerSeries(0, 1.0, (55.0,), ((0, 0.4),), (Anchor(0, 0),)), "mean 55 W"),  # of less than half a bin
        (PowerSeries(0, 1.0, (50.0, 60.0), clock=(Anchor(0, 0),)), "mean 55 W, highest 60 W (mean of 1.00 s)"),
    ],
)
def test_a_power_that_is_not_known_is_not_zero(power, facts):
    page = with_power(power).to_html()
    assert f"<span>{facts}</span>" in page
    assert f'aria-label="Power of NVIDIA A100 over time: {facts}"' in page


def test_a_session_is_drawn_once_whatever_its_row_says():
    """That of a loop with a test is of the training alone."""
    made = full()
    rows = [made.sessions[0], replace(made.sessions[1], energy=energy(0.7))]
    runs = (made, replace(made, sessions=rows), replace(made, sessions=rows[:1]))
    charts = {run.to_html().split("<h2>Power over time")[1].partition("<h2>")[0] for run in runs}
    assert len(charts) == 1


@given(
    st.lists(
        st.tuples(st.none() | st.floats(0, 1e100), st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        max_size=4,
    )
)
@settings(max_examples=30)
def test_whatever_figures_a_record_has_there_is_a_page(figures):
    rows = [EpochRow(epoch=i, train_j=j, val_j=j, total_kwh=j, metric=m) for i, (j, m) in enumerate(figures)]
    power = PowerSeries(0, 1.0, tuple(j for j, _ in figures), clock=(Anchor(0, 0),))
    made = record(1.0, 0.9)
    made = replace(made, epochs=rows, devices=[replace(made.devices[0], power=power)])
    page = made.to_html()
    assert "nan" not in page.split("<header>")[1]
    assert "inf" not in page.split("<header>")[1]


def test_phases_are_told_as_far_as_they_are_resolved():
    made = record(1.0, 0.9)
    assert "Energy by phase" not in made.to_html()
    stage, whole = next((name, energy) for name, energy in made.stages.items() if energy.energy_j)
    half = replace(whole, energy_j=whole.energy_j / 2, duration_s=whole.duration_s / 4)
    phases = [PhaseEnergy("data", half, resolved=True, longer=1.0), PhaseEnergy(EVIL, half, resolved=False)]
    page = replace(made, phases={stage: phases}).to_html()
    assert "Energy by phase" in headings(page)
    text = plain(page)
    assert "waiting for data" in text
    assert "50 %" in text
    assert "25 %" in text
    assert "not resolved" in text
    assert "<script" not in page


def test_the_phases_of_each_epoch_are_drawn_and_listed():
    made = record(1.0, 0.9)
    stage, whole = next((name, energy) for name, energy in made.stages.items() if energy.energy_j)
    phases = (
        EpochPhase(EVIL, 30.0, 1.0, resolved=True),
        EpochPhase("data", 20.0, 15.0, resolved=False),
        EpochPhase("x", None, 0.0, resolved=False),
    )
    rows = [EpochRow(epoch=0, train_j=50.0, phases=phases), EpochRow(epoch=1, train_j=50.0)]
    made = replace(made, epochs=rows, phases={stage: [PhaseEnergy("data", whole, resolved=True)]})
    page = made.to_html()
    assert "Joules of training by phase, a bar for each epoch" in page
    assert page.count('class="phase1"') == page.count('class="untold"') == 1 + 1  # a bar, and the legend
    assert 'height="139.8"' in page  # 30 of 51.5 J, in 240 pixels
    assert "<script" not in page
    document = Document(page)
    assert "Table of phases by epoch" in {a.get("aria-label") for a in document.all("div")}
    assert "30.0 ± 1.0 J" in plain(page)
    assert "Joules of training by phase" not in replace(made, epochs=rows[1:]).to_html()


def test_more_phases_than_colors_are_the_largest_and_the_rest():
    """Those of a loop of one's own may be 32: the smaller ones are resolved, and not said to be none."""
    phases = tuple(EpochPhase(f"p{i}", 10.0 + i, 1.0, resolved=True) for i in range(9))
    whole = replace(energy(1.0), energy_j=126.0)
    made = replace(
        record(1.0, 0.9),
        epochs=[EpochRow(epoch=0, train_j=126.0, phases=phases)],
        phases={"train": [PhaseEnergy("p0", whole, resolved=True)]},
    )
    page = made.to_html()
    rest = "not resolved, or one of the smaller phases"
    assert re.findall(r'<li><svg.*?class="(\w+)".*?</svg>(.*?)</li>', page.partition("Energy by phase")[2]) == [
        *((f"phase{i}", f"p{i + 1}") for i in range(1, 8)),
        ("untold", rest),
        ("train", "training"),
        ("validate", "validation"),
    ]
    assert f"p8 18 J, {rest} 21 J</title>" in page  # 10 + 11


def test_joules_per_unit_are_those_of_stages_and_of_phases_that_are_resolved():
    made = record(1.0, 0.9)
    whole = replace(energy(1.0), energy_j=500.0, u_j=5.0, u_absolute_j=50.0)
    data = replace(whole, energy_j=100.0, u_j=2.0, u_absolute_j=10.0)
    made = replace(
        made,
        stages={"train": whole, "predict": data},
        units={"train": {"samples": 50, "tokens": 1000}, "predict": {"samples": 20, "tokens": None}},
        phases={"train": [PhaseEnergy("data", data, resolved=True), PhaseEnergy("copy", data, resolved=False)]},
    )
    rows = [tuple(row.values()) for row in made.to_plain()["per_unit"]]
    assert rows == [
        ("train", None, "samples", 10.0, 0.1, 1.0),
        ("train", None, "tokens", 0.5, 0.005, 0.05),
        ("train", "data", "samples", 2.0, 0.04, 0.2),
        ("train", "data", "tokens", 0.1, 0.002, 0.01),
        ("predict", None, "samples", 5.0, 0.1, 0.5),
    ]
    assert made.report.unit_j("tokens", "train", "copy") is None
    page = made.to_html()
    assert "Energy per unit" in headings(page)
    assert "train: waiting for data 2.00 ± 0.20 J 100 ± 10 mJ" in plain(page)
    jsonschema.Draft202012Validator(SCHEMA).validate(made.to_plain())
    assert "per_unit" not in record(1.0, 0.9).to_plain()


def test_many_epochs_are_drawn_and_listed_in_part():
    rows = [EpochRow(epoch=i, train_j=1.0 + (i == 700), val_j=0.5) for i in range(1050)]
    page = replace(record(1.0, 0.9), epochs=rows).to_html()
    assert page.count('class="train"') == 96 + 1  # eleven epochs together, and the legend
    assert "A bar for each 11 epochs together" in page
    assert "epochs 0 to 10: training 11 J, validation 5.5 J" in page
    assert "550 epochs in the middle are left out" in page
    assert len(page) < 300_000


# ------------------------------------------------------------------------------------------------ charts


def test_power_is_drawn_in_steps_and_gaps_are_bands():
    # 100 W for 2 s, 2 s unknown, 200 W for 1 s of the last 2 s; 10 s at all, 200 W at the top
    series = PowerSeries(0, 2.0, (100.0, None, 200.0), ((2, 1.0),))
    x, y = time_axis(10.0), Axis.of(0.0, 200.0, str)
    page = power_over_time([(0.0, series)], x, y, height=100, label="a", begins_s=[5.0])
    assert '<path class="lost" d="M200 0H400V100H200Z"/>' in page
    assert '<path class="step" d="M0 50.0H200M400 0.0H500"/>' in page
    assert '<path class="area" d="M0 50.0H200V100H0ZM400 0.0H500V100H400Z"/>' in page
    assert '<path class="resumed" d="M500.0 0V100"/>' in page


def test_points_have_bars_and_stacks_stand_on_each_other():
    x, y = Axis.of(0.0, 10.0, str), Axis.of(0.0, 1.0, str)
    page = dots([Dot(5.0, 0.5, 1.0, "one"), Dot(10.0, 1.0, None, "<two>", is_best=True)], x, y, height=100, label="a")
    assert '<path class="line" d="M500 50L1000 0"/><path class="bar" d="M400.0 50H600.0"/>' in page
    assert '<path class="dots best" d="M1000 0h0"><title>&lt;two&gt;</title></path>' in page
    stacks = [Bar("0", {"train": 1.0, "validate": 0.5}, "a"), Bar("1", {"train": None}, "b")]
    drawn = bars(stacks, Axis(0, 2, ()), height=100, label="a")
    assert re.findall(r'class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawn) == [
        ("train", "37.5", "50.0", "425.0", "50.0"), ("validate", "37.5", "25.0", "425.0", "25.0"),
    ]  # fmt: skip


@given(st.floats(1e-3, 1e7))
def test_an_axis_of_time_has_few_round_ticks(length_s):
    ticks = time_axis(length_s).ticks
    assert 1 <= len(ticks) <= 7
    assert all(0 <= value <= length_s * 1.001 for value, _ in ticks)
    assert all(b > a for (a, _), (b, _) in pairwise(ticks))


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_an_axis_has_few_round_ticks(low, length):
    axis = Axis.of(low, low + length, str)
    assert axis.low < axis.high
    assert len(axis.ticks) <= 7
    assert all(0 <= axis.part(value) <= 1 for value, _ in axis.ticks)


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_writes_a_page_and_prints_the_report(tmp_path, capsys):
    write_record(tmp_path / "energy.json", full())
    assert main(["report", str(tmp_path), "--html", str(tmp_path / "new" / "run.html")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Energy: 4.32 MJ")
    assert err == f"wrote {tmp_path / 'new' / 'run.html'}\n"
    page = (tmp_path / "new" / "run.html").read_text(encoding="utf-8")
    assert page == full().to_html()
    assert str(tmp_path) not in page
    assert main(["report", str(tmp_path), "--format", "json", "--html", str(tmp_path)]) == 2  # a folder
    out, err = capsys.readouterr()
    assert json.loads(out)["version"] == 2
    assert err.startswith(f"lightning-energy report: {tmp_path} cannot be written: Is a directory")


# ------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture
def browser(chromium, tmp_path):
    """Shows a run's page in a window of a width, and returns the driver."""
    chromium.get_log("browser")
    chromium.get_log("performance")

    def show(run: Record, width: int, **features: str):
        file = tmp_path / "run.html"
        file.write_text(run.to_html(), encoding="utf-8")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        chromium.get(file.as_uri())
        return chromium

    return show


@pytest.mark.parametrize("name", ["Classifier", EVIL, "x" * 300], ids=["plain", "hostile", "long"])
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_it_fits_the_screen_and_asks_for_nothing(browser, name, width):
    driver = browser(full(name), width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.get_log("browser") == []  # no policy was broken, and nothing was run
    events = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    ours = {r["request"]["url"] for r in requests if not r["documentURL"].startswith("chrome")}
    assert {url.partition(":")[0] for url in ours} <= {"file", "data"}
    inside = """
      const [left, right] = [0, document.documentElement.clientWidth];
      return [...document.querySelectorAll('.chart text')].filter((t) => {
        const box = t.getBoundingClientRect();
        return box.left < left || box.right > right;
      }).map((t) => t.textContent);
    """
    assert driver.execute_script(inside) == []
    heights = driver.execute_script("return [...document.querySelectorAll('svg.chart')].map((s) => s.clientHeight)")
    assert heights == [142, 142, 142, 272, 272]


# ends at a tick whose text is long
UNTIL_A_TICK = replace(record(1.0, 0.9, epochs=(0.5,) * 5, epochs_kwh=(0.2, 0.4, 0.6, 0.8, 1.0)), devices=[])
FOUR_MS = PowerSeries(0, 0.02, (55.0,), ((0, 0.004),), (Anchor(0, 0),))


@pytest.mark.parametrize("run", [full(), UNTIL_A_TICK, with_power(FOUR_MS)], ids=["full", "until a tick", "short"])
@pytest.mark.parametrize("width", [390, 1200])
def test_ticks_do_not_touch(browser, width, run):
    driver = browser(run, width)
    boxes = driver.execute_script("""
      return [...document.querySelectorAll('svg.chart')].map((chart) => [...chart.querySelectorAll(':scope > text')]
        .map((t) => { const b = t.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; }));
    """)
    for chart in boxes:
        assert len(chart) > 4
        for i, a in enumerate(chart):
            for b in chart[i + 1 :]:
                assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] + 4 or b[3] <= a[2] + 4, (a, b)


STYLE = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"


def paper_of(driver, scheme: str) -> float:
    """The luminance of the page's paper, which is light or dark as its scheme says."""
    paper = luminance(driver.execute_script(STYLE, "body", "backgroundColor"))
    assert (paper > 0.5) == (scheme == "light")
    return paper


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_drawn_is_seen_in_both_schemes(browser, scheme):
    """Lines, bars and text differ from the paper by 3 and by 4.5 at least (WCAG 2.2, 1.4.11 and 1.4.3)."""
    driver = browser(full(), 1200, prefers_color_scheme=scheme)
    paper = paper_of(driver, scheme)
    drawn = [(".step", "stroke"), (".line", "stroke"), (".dots", "stroke"), ("rect.train", "fill")]
    for css, kind in [*drawn, ("rect.validate", "fill"), (".dots.best", "stroke")]:
        assert contrast(luminance(driver.execute_script(STYLE, css, kind)), paper) > 3, css
    for css, kind in (("body", "color"), (".note", "color"), (".chart text", "fill"), ("dd", "color")):
        assert contrast(luminance(driver.execute_script(STYLE, css, kind)), paper) > 4.5, css


def luminance(color: str) -> float:
    parts = [int(c) / 255 for c in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: float, b: float) -> float:
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def test_a_table_of_epochs_unfolds_without_a_script(browser):
    driver = browser(full(), 390)
    (folded,) = driver.find_elements("css selector", "details")
    assert not folded.find_element("css selector", "table").is_displayed()
    folded.find_element("css selector", "summary").click()
    rows = folded.find_elements("css selector", "tbody tr")
    assert len(rows) == 12
    assert rows[1].text.split()[:9] == ["1", "184.00", "±", "0.40", "kJ", "24.000", "±", "0.090", "kJ"]


# --------------------------------------------------------------------------------- phases, in a browser

PHASE_NAMES = ("other", "data", "copy", "forward", "backward", "optimizer")


def divided(name: str = "mine") -> Record:
    """Three epochs of training in phases, two stages that are divided; some phases are not resolved."""
    names, rows = (*PHASE_NAMES, name), []
    for epoch, whole_j in enumerate((1000.0, 700.0, 1300.0)):
        parts = (0.05, 0.2, 0.05, 0.3, 0.25, 0.1, 0.05)
        phases = [
            EpochPhase(
                phase, part * whole_j, 0.01 * whole_j, resolved=phase != "copy" and (phase, epoch) != ("data", 1)
            )
            for phase, part in zip(names, parts, strict=True)
        ]
        rows.append(EpochRow(epoch=epoch, train_j=whole_j, train_u_j=5.0, total_kwh=0.1, phases=tuple(phases)))
    part = replace(energy(1.0), energy_j=3000.0 / 7, u_j=9.0, u_absolute_j=30.0)
    of_train = [PhaseEnergy(phase, part, resolved=phase != "copy") for phase in names]
    of_mine = [PhaseEnergy(name, part, resolved=True), PhaseEnergy(f"{name} 2", part, resolved=False)]
    stages = {"train": replace(part, energy_j=3000.0), name: replace(part, energy_j=6000.0 / 7)}
    return replace(record(1.0, 0.9, stages=stages), epochs=rows, phases={"train": of_train, name: of_mine}, devices=[])


BARS = """
  const chart = [...document.querySelectorAll('svg.chart')].find((s) => s.getAttribute('aria-label').includes('phase'));
  return [...chart.querySelectorAll('g')].map((g) => [g.querySelector('title').textContent,
    [...g.querySelectorAll('rect')].map((r) => {
      const b = r.getBoundingClientRect();
      const under = document.elementFromPoint((b.left + b.right) / 2, (b.top + b.bottom) / 2);
      return {left: b.left, right: b.right, top: b.top, bottom: b.bottom, reached: under === r};
    })]);
"""


def test_bars_of_phases_are_the_epochs_and_say_so_under_the_pointer(browser):
    run = divided()
    driver = browser(run, 390)
    driver.execute_script("document.querySelector('rect.untold').scrollIntoView({block: 'center'})")
    heights = []
    for (text, rects), epoch in zip(driver.execute_script(BARS), run.epochs, strict=True):
        assert all(r["reached"] for r in rects)  # nothing lies over it: its text is shown
        for below, above in pairwise(rects):
            assert above["bottom"] == pytest.approx(below["top"], abs=0.2)
            assert (above["left"], above["right"]) == pytest.approx((below["left"], below["right"]), abs=0.2)
        height = rects[0]["bottom"] - rects[-1]["top"]
        heights.append(height)
        told_j = [p.energy_j for p in epoch.phases if p.resolved]
        parts = [*told_j, epoch.train_j - sum(told_j)]
        assert [(r["bottom"] - r["top"]) / height for r in rects] == pytest.approx(
            [j / epoch.train_j for j in parts], abs=0.01
        )
        assert text.startswith(f"epoch {epoch.epoch}: the rest (callbacks, logging) ")
        assert ("waiting for data" in text) == (epoch.epoch != 1)
        assert text.endswith(f"not resolved {parts[-1]:.3g} J")
    assert [height / max(heights) for height in heights] == pytest.approx([10 / 13, 7 / 13, 1], abs=0.01)
    assert max(heights) == pytest.approx(240 / 1.03, abs=0.5)


@pytest.mark.parametrize("name", ["mine", EVIL, "x" * 300], ids=["plain", "hostile", "long"])
@pytest.mark.parametrize("width", [320, 1200])
def test_phases_fit_the_screen_and_ask_for_nothing(browser, name, width):
    driver = browser(divided(name), width)
    for summary in driver.find_elements("css selector", "summary"):
        summary.click()
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.get_log("browser") == []
    events = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    ours = {r["request"]["url"] for r in requests if not r["documentURL"].startswith("chrome")}
    assert {url.partition(":")[0] for url in ours} <= {"file", "data"}
    outside = """
      return [...document.querySelectorAll('.legend li, .chart text')].filter((e) => {
        const b = e.getBoundingClientRect();
        return b.left < 0 || b.right > document.documentElement.clientWidth;
      }).map((e) => e.textContent);
    """
    assert driver.execute_script(outside) == []
    (table,) = driver.find_elements("css selector", "[aria-label='Table of phases by epoch'] table")
    cells = [
        [c.text for c in row.find_elements("css selector", "th, td")] for row in table.find_elements("tag name", "tr")
    ]
    assert cells[0][:4] == ["epoch", "the rest (callbacks, logging)", "waiting for data", "copying it to the device"]
    assert cells[2][:5] == ["1", "35.0 ± 7.0 J", "\u2013", "\u2013", "210.0 ± 7.0 J"]
    (of_stages,) = driver.find_elements("css selector", "[aria-label='Energy by phase'] tbody")
    heads = [e.text for e in of_stages.find_elements("tag name", "th")]
    assert len(heads) == len(PHASE_NAMES) + 1 + 2
    assert sum(text.startswith("train: ") for text in heads) == len(PHASE_NAMES) + 1
    assert of_stages.text.count("not resolved") == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phases_are_seen_in_both_schemes(browser, scheme):
    """Each color differs from the paper by 3 at least (WCAG 2.2, 1.4.11), and no two are the same."""
    driver = browser(divided(), 1200, prefers_color_scheme=scheme)
    paper = paper_of(driver, scheme)
    drawn = [(f"rect.phase{i}", "fill") for i in range(1, 7)] + [("rect.untold", "stroke")]
    colors = [driver.execute_script(STYLE, css, kind) for css, kind in drawn]
    assert all(contrast(luminance(color), paper) > 3 for color in colors), colors
    assert len({*colors}) == len(colors)
