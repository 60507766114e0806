from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy import energy_penalized_accuracy
from lightning_energy.comparison.page import render_page
from lightning_energy.results.markup import clean

EVIL = "<script>alert(1)</script>"
NAMES = [
    EVIL,
    "\"quotes\" & 'more' >",
    "</script><script>alert(2)</script>",
    "line\u2028and\u2029paragraph",
    "🔋 emoji 👩‍👩‍👧",
    "שלום \u202eoverride",
    "x" * 300,
    "word " * 60,
    "nul\x00 half \ud800 bell\x07",
    "<img src=x onerror=alert(3)>",
    "@@data $name ${name} @@{title}",
]


def run(name, metric, energy_kwh, **more):
    known = metric is not None and energy_kwh is not None and more.get("scale") != "raw"
    return {
        "name": name,
        "path": "/home/someone/runs/energy.json",
        "module": "models.small.Net",
        "parameters": 1_234_567,
        "outcome": "completed",
        "metric": metric,
        "metric_name": "val_acc",
        "mode": "max",
        "scale": "fraction",
        "energy_kwh": energy_kwh,
        "u_kwh": energy_kwh and 0.03 * energy_kwh,
        "quality": "measured",
        "duration_s": 5400.0,
        "power_w": 250.0,
        "sample_j": None,
        "sam": None,
        "score": energy_penalized_accuracy(metric, energy_kwh) if known else None,
        "on_front": False,
        "dominated_by": [],
        "caveats": [],
        "hardware": "NVIDIA H100",
        "covers": "gpu",
        **more,
    }


def reached(kwh, over_kwh=0.0):
    return {"target": 35.0, "kwh": kwh, "u_kwh": None, "over_kwh": over_kwh, "is_reached": kwh is not None}


def comparison(runs, **more):
    return {
        "formula": {"name": "energy_penalized_accuracy", "alpha": 5.0, "beta": 5.0, "reference_kwh": 1.0},
        "metric": {"name": "accuracy", "mode": "max", "scale": "fraction", "epoch": "last", "targets": []},
        "runs": runs,
        "front": [r["name"] for r in runs if r["on_front"]],
        "iso_scores": [{"score": 2.0, "points": [[e, (0.4 * (1 + math.log10(1 + e))) ** 0.2] for e in (0.2, 1, 4, 9)]}],
        "caveats": [],
        "problems": [],
        **more,
    }


FEW = comparison(
    [
        run("tiny", 0.85, 0.3, on_front=True, parameters=900, duration_s=40.0, sample_j=0.02),
        run("wide", 0.9, 4.0, dominated_by=["deep", "Tiny-2"], caveats=["its sensor is coarse"], sample_j=2.5, sam=4.9),
        run("deep", 0.95, 2.0, on_front=True, parameters=25_600_000, power_w=None, sam=12.8, sample_j=0.9),
        run("Tiny-2", 0.91, 0.9, on_front=True, parameters=None, quality="estimated", duration_s=None),
        run("huge", 0.96, 11.0, on_front=True, parameters=7_000_000_000, sam=3.9, sample_j=11.0, quality="integrated"),
        run(EVIL, 0.88, 1.5, dominated_by=["Tiny-2"], caveats=["it was interrupted", "it is coarse"]),
        run("lost", None, 1.0, metric_name=None, outcome="interrupted"),
        run("dark", 0.9, None, quality="missing", sample_j=None),
    ],
    caveats=["The energies do not cover the same."],
)
HOSTILE = comparison(
    [
        run(n, 0.5 + 0.04 * i, 10.0 ** (i - 5), module=n, metric_name=n, hardware=n, covers=n, quality=n, caveats=[n])
        | {"dominated_by": NAMES}
        for i, n in enumerate(NAMES)
    ],
    formula={"name": EVIL, "alpha": 5.0, "beta": 5.0, "reference_kwh": 1.0},
    metric={"name": "".join(NAMES), "mode": "min", "scale": "raw", "epoch": "best", "targets": [2.0]},
    caveats=NAMES,
    problems=NAMES,
)

PERPLEXITIES = comparison(
    [
        run(n, m, e, metric_name="val_ppl", mode="min", scale="raw", **more)
        for n, m, e, more in [
            ("small", 40.0, 1.0, {"on_front": True, "targets": [reached(None, 1.0)]}),
            ("large", 20.0, 4.0, {"on_front": True, "targets": [reached(2.5)]}),
            ("waste", 30.0, 9.0, {"dominated_by": ["large"], "targets": [reached(8.0)]}),
        ]
    ],
    formula=None,
    metric={"name": "val_ppl", "mode": "min", "scale": "raw", "epoch": "last", "targets": [35.0]},
    iso_scores=[],
)


class Document(HTMLParser):
    """A page taken apart: elements with their attributes, and the text of each kind of element."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def text(self, tag):
        return [t for kind, t in self.texts if kind == tag]


def island(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def cells(page, row=0):
    body = page.split("<tbody>")[row + 1]
    return [
        re.sub("<[^>]+>", "", c) for c in re.findall(r"<t[hd] .*?>(.*?)</t[hd]>", body.split("</tr>")[0], re.DOTALL)
    ]


def figures(page, row=0):
    """Cells of a row by their headings."""
    labels = [re.sub("<[^>]+>", "", th) for th in re.findall(r'<th scope="col".*?>(.*?)</th>', page)]
    return dict(zip(labels, cells(page, row), strict=True))


@given(st.text(min_size=1))
def test_any_name_is_text(text):
    """A name comes back as text from the table, and from the data of the chart."""
    metric = {"name": text[:28], "mode": "min", "scale": "raw"}
    page = render_page(comparison([run(text, 0.9, 1.0, module=None)], metric=metric), title=text)
    document = Document(page.split("</style>")[1].split("<script")[0])
    named = clean(text[:28])
    # the title, the sentence beneath it, the logged name, the heading of the column, the row
    assert document.text("bdi") == [clean(text), named, "val_acc", named, clean(text)]
    assert island(page)["metric"]["heading"] == named
    assert island(page)["runs"][0]["name"] == clean(text)
    assert page.encode()  # no lone surrogate is left


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_text_that_prints_is_kept(text):
    assert clean(text) == text


def test_nothing_of_others_becomes_markup():
    page, plain = render_page(HOSTILE), render_page(comparison([run("n", 0.5, 1.0)]))
    allowed = {tag for tag, _ in Document(plain).elements} | {"details", "summary", "small", "section", "ul", "li"}
    for tag, attributes in Document(page).elements:
        assert tag in allowed
        assert not [a for a in attributes if a.startswith("on") or a in {"src", "style", "srcset"}]
        assert attributes.get("href", "data:,") == "data:,"
    assert page.count("<script") == plain.count("<script") == 2
    assert island(page)["unit"] == "Wh"
    assert "\u2028" not in re.search(r'id="data">(.*?)</script>', page)[1]


def test_the_policy_knows_script_and_style_by_their_hashes():
    page = render_page(HOSTILE)
    (policy,) = (a["content"] for t, a in Document(page).elements if a.get("http-equiv") == "Content-Security-Policy")
    directives = dict(d.strip().split(" ", 1) for d in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"


def test_nothing_is_loaded():
    page = render_page(FEW)
    assert set(re.findall(r"\w+://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|\bimport\b", page)


def test_paths_stay_at_home():
    assert "/home/someone" not in render_page(FEW)


def test_figures_are_written_for_people():
    page = render_page(FEW)
    assert cells(page, 1)[2:] == [
        "0.9000", "4.00 ± 0.12 kWh", "2.500 J", "4.900", "1.738", "1.50 h", "250 W", "1.235 M", "measured",
        "deep, Tiny-2", "1",
    ]  # fmt: skip
    assert cells(page, 4)[9] == "7 B"
    assert cells(page, 6)[:4] == ["lostNet, interrupted", "&ndash;", "&ndash;", "1.000 ± 0.030 kWh"]
    assert cells(page, 7)[3] == "&ndash;"


@pytest.mark.parametrize(
    ("energy_kwh", "u_kwh", "text"),
    [
        (3e-6, 4e-7, "10.8 ± 1.4 J"),
        (3e-6, None, "10.80 J"),
        (0.0, 0.0, "0 ± 0 J"),
        (0.0123, 0.1, "12 ± 100 Wh"),
        (2500.0, 12.0, "2.500 ± 0.012 MWh"),
        (1.0, 1e-12, "1.000000 ± 0.000000 kWh"),
    ],
)
def test_energy_has_the_unit_of_its_size(energy_kwh, u_kwh, text):
    page = render_page(comparison([run("a", 0.9, energy_kwh, u_kwh=u_kwh)]))
    assert cells(page)[3].replace("0 ± 0 Wh", "0 ± 0 J") == text


def test_energies_near_each_other_have_one_prefix_and_others_their_own():
    near = render_page(comparison([run(str(e), 0.9, e) for e in (0.4, 3.0, 20.0)]))
    far = render_page(comparison([run(str(e), 0.9, e) for e in (0.4, 3.0, 2000.0)]))
    assert [cells(near, i)[3].split()[-1] for i in range(3)] == ["kWh"] * 3
    assert [cells(far, i)[3].split()[-1] for i in range(3)] == ["Wh", "kWh", "MWh"]


def test_what_is_not_finite_is_unknown():
    bad = run("bad", 0.9, 1.0) | {"metric": math.nan, "energy_kwh": math.inf, "u_kwh": math.nan, "sam": -math.inf}
    page = render_page(comparison([bad], iso_scores=[{"score": 1.0, "points": [[1.0, math.nan], [2.0, 0.5]]}]))
    assert [figures(page)[label] for label in ("accuracy", "energy")] == ["&ndash;"] * 2
    assert "SAM" not in figures(page)
    assert island(page)["runs"][0]["energy_kwh"] is None
    assert island(page)["iso_scores"][0]["points"] == [[2.0, 0.5]]


def test_what_all_runs_share_is_said_once_and_metrics_that_differ_by_run():
    page = render_page(FEW)
    facts = re.search(r'<p class="facts">(.*?)</p>', page, re.DOTALL)[1]
    assert re.sub("<[^>]+>", "", facts) == (
        "8 runs, 4 on the front · accuracy: val_acc, last value · hardware: NVIDIA H100 · energy covers: gpu"
    )
    runs = [run("a", 0.9, 1.0), run("b", 0.9, 1.0, metric_name="valid/acc", hardware="CPU")]
    page = render_page(comparison(runs, metric={"name": "accuracy", "epoch": "best"}))
    assert "accuracy: different names of one metric, best epoch" in page
    assert "NVIDIA H100 ·" not in page
    assert cells(page, 1)[2] == "0.9000valid/acc"


def test_dominated_perhaps_and_by_many():
    many = [f"run {i}" for i in range(1200)]
    runs = [run("a", 0.9, 1.0, dominated_by=many), run("b", 0.9, 1.0, perhaps_dominated_by=["a"])]
    page = render_page(comparison(runs))
    assert figures(page, 0)["dominated by"] == "run 0, run 1, run 2 and&nbsp;1,197&nbsp;more"
    assert figures(page, 1)["dominated by"] == "by the meter: a"


def test_a_column_that_is_empty_for_all_is_left_out():
    always = {"run", "front", "accuracy", "energy", "quality"}
    lost = run("lost", None, None, quality="missing", duration_s=None, power_w=None, parameters=None)
    assert {*figures(render_page(comparison([lost])))} == always
    whole = render_page(comparison([lost], caveats=["All energies are estimated."]))
    assert {*figures(whole)} == always
    page = render_page(comparison([lost, run("a", 0.9, 1.0, sam=2.0, caveats=["it is coarse"])]))
    assert {*figures(page)} - always == {"SAM", "score", "time", "power", "parameters", "caveats"}
    assert (figures(page)["SAM"], figures(page, 1)["SAM"]) == ("&ndash;", "2.000")
    assert [*figures(render_page(FEW))] == [*COLUMNS]


def test_the_front_has_the_sign_of_the_chart():
    runs = [run("a", 0.8, 1.0, on_front=True), run("b", 0.9, 2.0, on_front=True, quality="estimated")]
    page = render_page(comparison(runs))
    assert [figures(page, i)["front"] for i in range(2)] == ["● front", "◆ front"]


def test_every_warning_is_there_and_many_unfold():
    page = render_page(comparison([], caveats=["one"], problems=[f"problem {i}" for i in range(9)]))
    assert "<summary>3 more</summary>" in page
    assert [t for t in Document(page).text("li") if t.startswith(("one", "problem"))] == [
        "one", *(f"problem {i}" for i in range(9)),
    ]  # fmt: skip


def test_a_page_of_a_metric_without_a_score():
    page = render_page(PERPLEXITIES)
    text = re.sub("<[^>]+>", "", page.split("<script")[0])
    assert "<title>val_ppl against energy</title>" in page
    assert "val_ppl (less is better) cost in energy." in text
    assert "metric: val_ppl, less is better, last value" in text
    assert "No score: val_ppl is no accuracy (less is better)" in text
    assert "SAM" not in text
    assert not {"SAM", "score", "accuracy"} & {*figures(page)}
    assert [figures(page, i)["val_ppl"] for i in range(3)] == ["40.00", "20.00", "30.00"]
    assert [figures(page, i)["energy to reach 35"] for i in range(3)] == [
        "&gt;&nbsp;1.000 kWh",
        "2.500 kWh",
        "8.000 kWh",
    ]
    assert "Energy to reach val_ppl 35: that of the training up to" in text


@pytest.mark.parametrize("name", ["energy_penalized_accuracy", "log_penalized_accuracy", "my own"])
def test_the_formula_stands_beneath(name):
    formula = {"name": name, "alpha": 4.0, "beta": 1e3, "reference_kwh": 1e-5}
    text = re.sub("<[^>]+>", "", render_page(comparison([], formula=formula)))
    assert "&alpha; = 4, &beta; = 1000, Eref = 10 mWh;" in text
    assert f"The score is {name}:" in text
    assert ("score = &beta;" in text) is (name != "my own")


# ---- in a browser


def placed(run):
    return run["metric"] is not None and run["energy_kwh"] is not None


COLUMNS = {  # what a column sorts by; None is unknown
    "run": lambda r: r["name"].lower(),
    "front": lambda r: r["on_front"] if placed(r) else None,
    "accuracy": lambda r: r["metric"],
    "energy": lambda r: r["energy_kwh"],
    "per sample": lambda r: r["sample_j"],
    "SAM": lambda r: r["sam"],
    "score": lambda r: r["score"],
    "time": lambda r: r["duration_s"],
    "power": lambda r: r["power_w"],
    "parameters": lambda r: r["parameters"],
    "quality": lambda r: r["quality"],
    "dominated by": lambda r: len(r["dominated_by"]) if placed(r) else None,
    "caveats": lambda r: len(r["caveats"]),
}


class Browser:
    """A page in Chromium."""

    def __init__(self, driver, folder):
        self.driver, self._file = driver, folder / "page.html"
        self.run = driver.execute_script

    def show(self, plain, width=1200, height=1000, **features):
        self._file.write_text(render_page(plain), encoding="utf-8")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.driver.get(self._file.as_uri())
        self.until("""
          const [chart, plot, svg] = ['#chart', '#plot', '#plot svg'].map((css) => document.querySelector(css));
          return chart.hidden || (!!svg && svg.viewBox.baseVal.width === plot.clientWidth);
        """)

    def worked_s(self):
        """Processor time of the page's main thread, whatever else the machine does."""
        self.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        metrics = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    def until(self, script, limit_s=100.0):
        end = time.monotonic() + limit_s
        while not self.run(script):
            assert time.monotonic() < end, f"did not come true: {script}"

    def names(self):
        return self.run("return [...document.querySelectorAll('tbody th bdi')].map((n) => n.textContent)")

    def head(self, label):
        find = "return [...document.querySelectorAll('thead th')].find((h) => h.textContent === arguments[0])"
        return self.run(find, label)

    def all(self, css):
        return self.driver.find_elements("css selector", css)

    def tip(self):
        return self.run("const t = document.getElementById('tip'); return t.hidden ? null : t.innerText")

    def point(self, name):
        script = """
          const isIt = (p) => p.getAttribute('aria-label').startsWith(`${arguments[0]}, `);
          const dot = [...document.querySelectorAll('.point')].find(isIt);
          dot.scrollIntoView({ block: 'center', behavior: 'instant' });
          const { x, y, width, height } = dot.querySelector('.dot').getBoundingClientRect();
          return [dot, x + width / 2, y + height / 2];
        """
        return self.run(script, name)

    def mouse(self, x, y, kind="mouseMoved"):
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "pointerType": "mouse"})

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()


@pytest.fixture
def browser(chromium, tmp_path):
    for kind in ("browser", "performance"):
        chromium.get_log(kind)  # what earlier pages left there
    return Browser(chromium, tmp_path)


@pytest.mark.parametrize("plain", [FEW, HOSTILE], ids=["few", "hostile"])
def test_a_hostile_name_is_shown_not_run_and_nothing_is_requested(browser, plain):
    from selenium.common.exceptions import NoAlertPresentException

    browser.show(plain)
    for head in browser.all("thead th button"):
        head.click()
    _, x, y = browser.point(EVIL)
    browser.mouse(x, y)
    assert browser.tip().startswith(f"{EVIL}\n")
    assert EVIL in [n.text for n in browser.all("tbody th bdi")]
    assert EVIL in [n.text for n in browser.all("svg .label")]
    with pytest.raises(NoAlertPresentException):
        _ = browser.driver.switch_to.alert
    assert len(browser.all("script")) == 2
    assert not browser.all("img")
    assert browser.driver.get_log("browser") == []
    events = [json.loads(e["message"])["message"] for e in browser.driver.get_log("performance")]
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    ours = {r["request"]["url"] for r in requests if not r["documentURL"].startswith("chrome")}  # its start page
    assert {url.partition(":")[0] for url in ours} <= {"file", "data"}
    assert browser.driver.current_url in ours


def test_every_column_sorts_by_click(browser):
    browser.show(FEW)
    runs = {r["name"]: r for r in FEW["runs"]}
    assert browser.names() == [*runs]
    assert [h.text for h in browser.all("thead th")] == [*COLUMNS]
    for label, value in COLUMNS.items():
        seen = set()
        for _ in range(2):
            browser.head(label).find_element("tag name", "button").click()
            direction = browser.head(label).get_attribute("aria-sort")
            assert len(browser.all("[aria-sort]")) == 1
            shown = [value(runs[name]) for name in browser.names()]
            known = sorted((v for v in shown if v is not None), reverse=direction == "descending")
            assert shown == known + [None] * (len(runs) - len(known)), label
            seen.add(direction)
        assert seen == {"ascending", "descending"}, label


def test_where_less_is_better_the_front_steps_down_and_the_least_comes_first(browser):
    browser.show(PERPLEXITIES)
    assert browser.all("#plot text")[0] is not None
    texts = browser.run("return [...document.querySelectorAll('#plot text')].map((t) => t.textContent)")
    assert "val_ppl, less is better ↓" in texts
    assert {"20", "30", "40"} <= {*texts}
    heights = {name: browser.point(name)[2] for name in ("small", "large", "waste")}
    assert heights["small"] < heights["waste"] < heights["large"]
    top, left, right = browser.run(
        "const b = document.querySelector('.step').getBBox(); return [b.y, b.x, b.x + b.width]"
    )
    lowest = browser.run("const b = document.querySelector('.area').getBBox(); return b.y")
    assert lowest == pytest.approx(top, abs=1)  # all that is worse than the front, up to the upper edge
    assert left < right
    browser.head("val_ppl").find_element("tag name", "button").click()
    assert browser.names() == ["large", "waste", "small"]
    assert not browser.all("#legend-iso")[0].is_displayed()
    assert browser.driver.get_log("browser") == []


@pytest.mark.parametrize(
    ("values", "some"),
    [
        ((3e-9, 2e-9), ["2e-9", "3e-9"]),
        ((3e9, 2e9), ["2e+9", "3e+9"]),
        ((0.02, 0.04), ["0.020", "0.040"]),
        ((-0.5, 0.5), ["-0.4", "0.0", "0.4"]),
        ((120.0, 240.0), ["120", "240"]),
        ((0.0, 0.0), ["0.000"]),
    ],
)
def test_values_of_any_size_have_an_axis_that_can_be_read(browser, values, some):
    runs = [run(str(i), v, 1.0 + i, mode="min", scale="raw") for i, v in enumerate(values)]
    metric = {"name": "val_mse", "mode": "min", "scale": "raw"}
    browser.show(comparison(runs, metric=metric, iso_scores=[], formula=None))
    ticks = browser.run(
        "return [...document.querySelectorAll('#plot text[text-anchor=end]')].map((t) => t.textContent)"
    )
    assert {*some} <= {*ticks}, ticks
    assert len({*ticks}) == len(ticks)


def test_a_heading_sorts_by_keyboard(browser):
    from selenium.webdriver import Keys

    browser.show(FEW)
    browser.run("document.querySelector('.box').focus()")
    browser.press(Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER)
    assert browser.names()[:2] == ["huge", "deep"]
    assert browser.names()[-1] == "lost"
    assert browser.head("accuracy").get_attribute("aria-sort") == "descending"
    browser.press(Keys.SPACE)
    assert browser.names()[0] == "tiny"
    assert browser.names()[-1] == "lost"
    assert browser.head("accuracy").get_attribute("aria-sort") == "ascending"


def test_the_tip_shows_the_point_under_the_pointer_and_its_row(browser):
    browser.show(FEW)
    for name, accuracy, energy in [("deep", "0.9500", "2.000 ± 0.060 kWh"), ("wide", "0.9000", "4.00 ± 0.12 kWh")]:
        point, x, y = browser.point(name)
        browser.mouse(x + 3, y - 2)
        lines = browser.tip().splitlines()
        assert lines[0] == name
        assert lines[lines.index("accuracy") + 1] == accuracy
        assert lines[lines.index("energy") + 1] == energy
        assert [r.text for r in browser.all("tbody.on th bdi")] == [name]
        assert "on" in point.get_attribute("class").split()
    assert "its sensor is coarse" in browser.tip()
    assert "deep, Tiny-2" in browser.tip()
    box = browser.run("const t = document.getElementById('tip').getBoundingClientRect(); return [t.left, t.right]")
    assert 0 <= box[0] < box[1] <= 1200
    browser.mouse(2, 2)
    assert browser.tip() is None
    assert not browser.all("tbody.on")


def test_a_row_marks_its_point(browser):
    browser.show(FEW)
    (row,) = (r for r in browser.all("tbody") if r.text.startswith("huge"))
    script = """
      arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' });
      const box = arguments[0].getBoundingClientRect();
      return [box.left + 40, box.top + 8];
    """
    browser.mouse(*browser.run(script, row))
    (marked,) = browser.all(".point.on")
    assert marked.get_attribute("aria-label").startswith("huge, ")
    assert browser.tip() is None


def test_points_are_walked_by_keyboard(browser):
    from selenium.webdriver import Keys

    browser.show(FEW)
    assert len(browser.all(".point[tabindex='0']")) == 1  # one stop for the whole chart
    browser.run("document.getElementById('front-only').focus()")  # it comes before the chart
    browser.press(Keys.TAB)
    walked = [browser.tip().splitlines()[0]]
    for _ in range(6):
        browser.press(Keys.ARROW_RIGHT)
        walked.append(browser.tip().splitlines()[0])
    assert walked == ["tiny", "Tiny-2", EVIL, "deep", "wide", "huge", "huge"]
    browser.press(Keys.HOME)
    assert browser.tip().startswith("tiny")
    browser.press(Keys.ESCAPE)
    assert browser.tip() is None


def test_a_touch_shows_the_tip_on_a_phone(browser):
    browser.show(FEW, width=360)
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        _, x, y = browser.point("wide")
        for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
            browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        browser.until("return !document.getElementById('tip').hidden")
        assert browser.tip().startswith("wide\n")
        left, right = browser.run(
            "const t = document.getElementById('tip').getBoundingClientRect(); return [t.left, t.right]"
        )
        assert 0 <= left < right <= 360
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@pytest.mark.parametrize("plain", [FEW, HOSTILE], ids=["few", "hostile"])
def test_nothing_overflows_a_phone(browser, plain):
    browser.show(plain, width=360, height=700)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.run("return document.documentElement.scrollWidth") == 360
    wide = browser.run(
        "return [...document.querySelectorAll('main *')].filter((n) => !n.closest('.box, #tip, svg') && "
        "n.getBoundingClientRect().right > 360.5).map((n) => n.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert browser.run(
        "const b = document.querySelector('.box'); return b.scrollWidth > b.clientWidth"
    )  # in its own box


@pytest.mark.parametrize("qualities", [("measured",) * 3, ("estimated",) * 3, ("measured", "estimated", "measured")])
def test_the_legend_has_the_signs_of_the_chart(browser, qualities):
    front = [run(str(i), 0.7 + 0.1 * i, 1.0 + i, on_front=True, quality=q) for i, q in enumerate(qualities)]
    behind = run("behind", 0.6, 9.0, quality=qualities[1], perhaps_dominated_by=["0"])
    browser.show(comparison([*front, behind]))
    signs = "return [...new Set([...document.querySelectorAll(arguments[0])].map((n) => n.tagName))].sort()"
    for points, sign in (
        (".point.front .dot", "#legend-front .dot"),
        (".point:not(.front) .dot", "#legend-other .dot"),
    ):
        assert browser.run(signs, points) == browser.run(signs, sign)
    looks = "const s = getComputedStyle(document.querySelector(arguments[0])); return [s.fill, s.stroke]"
    assert browser.run(looks, ".point.front .dot") == browser.run(looks, "#legend-front .dot")
    assert browser.all("#legend-diamond")[0].is_displayed() is ("estimated" in qualities)


def test_on_a_phone_the_names_stay_and_a_hint_says_that_the_table_scrolls(browser):
    left = "return document.querySelector(arguments[0]).getBoundingClientRect().left"
    browser.show(FEW, width=360, height=700)
    assert browser.all("#scrolls")[0].is_displayed()
    assert browser.all(".frame.more")
    before = browser.run(left, "tbody th"), browser.run(left, "thead th"), browser.run(left, "tbody td:not(.is-front)")
    browser.run("const box = document.querySelector('.box'); box.scrollLeft = box.scrollWidth")
    browser.until("return !document.querySelector('.frame.more')")  # nothing is left to the right
    assert (browser.run(left, "tbody th"), browser.run(left, "thead th")) == before[:2]
    assert browser.run(left, "tbody td:not(.is-front)") < before[2] - 100
    browser.show(comparison([run("a", 0.9, 1.0)]), width=1600)
    assert not browser.all("#scrolls")[0].is_displayed()
    assert not browser.all(".frame.more")


def test_arrow_keys_are_not_told_of_where_there_is_but_touch(browser):
    browser.show(FEW)
    assert "arrow keys" in browser.all("#how")[0].text
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        browser.show(FEW, width=360)
        assert browser.all("#how")[0].text.startswith("A heading sorts by its column.")
        assert "arrow keys" not in browser.all("#how")[0].text
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_behind_the_points_are_seen(browser, scheme):
    browser.show(FEW, prefers_color_scheme=scheme)
    script = """
      const style = getComputedStyle(document.querySelector(arguments[0]));
      return [style.stroke, Number(style.strokeOpacity), getComputedStyle(document.body).backgroundColor];
    """
    for css, least in ((".grid", 1.2 if scheme == "light" else 1.7), (".iso", 3.0)):
        ink, opacity, paper = browser.run(script, css)
        mixed = [opacity * a + (1 - opacity) * b for a, b in zip(channels(ink), channels(paper), strict=True)]
        assert contrast(f"rgb({', '.join(str(round(c)) for c in mixed)})", paper) >= least, css


def channels(color):
    return [int(c) for c in re.findall(r"\d+", color)[:3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, scheme):
    """WCAG 2 AA for all text, computed from what the browser shows, with a row and a point marked."""
    browser.show(FEW, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    _, x, y = browser.point("wide")
    browser.mouse(x, y)
    seen = browser.run("""
      const paper = (n) => {
        for (; n; n = n.parentElement) {
          const color = getComputedStyle(n).backgroundColor;
          if (!color.startsWith('rgba(0, 0, 0, 0')) return color;
        }
      };
      const ink = (n) => getComputedStyle(n)[n.namespaceURI.endsWith('svg') ? 'fill' : 'color'];
      const hasText = (n) => [...n.childNodes].some((c) => c.nodeType === Node.TEXT_NODE && c.data.trim());
      return [...document.querySelectorAll('body *')]
        .filter((n) => !n.closest('script, noscript') && n.getClientRects().length && hasText(n))
        .map((n) => [n.textContent.slice(0, 30), ink(n), paper(n)]);
    """)
    assert len(seen) > 100
    for text, ink, paper in seen:
        assert contrast(ink, paper) >= 4.5, (text, ink, paper)
    assert (luminance(seen[0][2]) < 0.1) is (scheme == "dark")
    assert browser.run("return getComputedStyle(document.querySelector('.dot')).transitionDuration") == "0s"


def luminance(color):
    shares = [c / 255 for c in channels(color)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.slow
def test_a_thousand_runs(browser):
    runs = [
        run(f"run {i}", 0.5 + 0.4 * ((i * 7919) % 1000) / 1000, 10 ** ((i * 104729 % 1000) / 250 - 2))
        for i in range(1000)
    ]
    began_s = browser.worked_s()
    browser.show(comparison(runs))
    assert len(browser.all(".point")) == 1000
    browser.head("energy").find_element("tag name", "button").click()
    assert 0 < browser.worked_s() - began_s < 10
    order = browser.names()
    assert order == [r["name"] for r in sorted(runs, key=lambda r: r["energy_kwh"])]
    boxes = browser.run("return [...document.querySelectorAll('.label')].map((n) => { const b = n.getBBox();"
                        "return [b.x, b.y + 3, b.x + b.width, b.y + b.height - 3]; })")  # fmt: skip
    assert 5 < len(boxes) < 300  # where they fit
    overlapping = [
        (a, b)
        for i, a in enumerate(boxes)
        for b in boxes[:i]
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    assert not overlapping


@pytest.mark.parametrize("energy_kwh", [1e-7, 0.004, 3.0, 2e5])
def test_one_run_has_axes_that_can_be_read(browser, energy_kwh):
    browser.show(comparison([run("only", 0.9, energy_kwh, on_front=True)]))
    ticks = browser.run(
        "return [...document.querySelectorAll('#plot text[text-anchor=middle]')].map((t) => t.textContent)"
    )
    assert len(ticks) >= 2
    assert all(re.fullmatch(r"[\d.]+ [GMkmµ]?(J|Wh)", t) for t in ticks), ticks
    assert len(set(ticks)) == len(ticks)


def test_without_anything_to_draw_there_is_a_table(browser):
    browser.show(comparison([run("lost", None, 1.0)], iso_scores=[]))
    assert not browser.all("#chart")[0].is_displayed()
    assert browser.names() == ["lost"]
    browser.show(comparison([], iso_scores=[]))
    assert browser.names() == []
    assert browser.driver.get_log("browser") == []


def test_without_javascript_the_table_is_there(browser):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser._file.write_text(render_page(FEW), encoding="utf-8")
        browser.driver.get(browser._file.as_uri())
        assert [n.text for n in browser.all("tbody th bdi")] == [r["name"] for r in FEW["runs"]]
        assert "need JavaScript" in browser.all("body")[0].text
        assert not browser.all("#chart")[0].is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# ---- many runs: settings as columns, a filter, courses


def swept(n, **more):
    """Runs that differ in two settings."""
    return comparison(
        [
            run(
                f"run-{i:03}",
                0.5 + 0.4 * ((i * 37) % n) / n,
                1.0 + i,
                on_front=i % 10 == 0,
                quality="estimated" if i % 2 else "measured",
                settings={"lr": 10.0 ** -(i % 3), "model": ["mlp", "cnn"][i % 2], "batch_size": 32},
            )
            for i in range(n)
        ],
        **more,
    )


def test_settings_that_differ_are_columns():
    page = render_page(swept(4))
    assert [figures(page, i)["lr"] for i in range(4)] == ["1", "0.1", "0.01", "1"]
    assert [figures(page, i)["model"] for i in range(4)] == ["mlp", "cnn", "mlp", "cnn"]
    assert "batch_size" not in figures(page)
    evil = comparison([run(n, 0.9, 1.0, settings={EVIL: n}) for n in NAMES])
    assert render_page(evil).count("<script") == render_page(FEW).count("<script")


def test_every_target_is_a_column():
    results = [{"target": t, "kwh": None, "u_kwh": None, "over_kwh": 1.0, "is_reached": False} for t in (0.8, 0.9)]
    metric = {"name": "accuracy", "mode": "max", "scale": "fraction", "epoch": "last", "targets": [0.8, 0.9]}
    page = render_page(comparison([run("a", 0.7, 1.0, targets=results)], metric=metric))
    assert figures(page)["energy to reach 0.8"] == figures(page)["energy to reach 0.9"] == "&gt;&nbsp;1.000 kWh"


def test_stability_is_told():
    page = render_page(comparison([run("a", 0.7, 1.0)], stability={"sentences": ["Two winners over <alpha>."]}))
    assert "Two winners over &lt;alpha&gt;." in page


def typed(browser, css, text):
    field = browser.all(css)[0]
    field.clear()
    field.send_keys(text)


def test_a_filter_and_the_front_alone(browser):
    browser.show(swept(300))
    shown = "return [...document.querySelectorAll('tbody')].filter((b) => !b.hidden).length"
    assert browser.run(shown) == len(browser.all(".point")) == 300
    typed(browser, "#filter", "CNN 0.01")
    assert browser.run(shown) == len(browser.all(".point")) == 50
    assert browser.all("#shown")[0].text == "50 of 300 runs shown"
    typed(browser, "#filter", "nothing of this name")
    assert browser.run(shown) == len(browser.all(".point")) == 0
    typed(browser, "#filter", "run-")
    browser.all("#front-only")[0].click()
    assert browser.run(shown) == len(browser.all(".point")) == 30
    browser.head("energy").find_element("tag name", "button").click()
    assert browser.run(shown) == 30


@pytest.mark.parametrize("plain", [FEW, HOSTILE, swept(12)], ids=["few", "hostile", "swept"])
def test_energy_is_visible_on_a_phone_without_scrolling(browser, plain):
    browser.show(plain, width=360, height=700)
    right, edge = browser.run("""
      const column = [...document.querySelectorAll('thead th')].findIndex((h) => h.textContent.trim() === 'energy');
      const cells = [...document.querySelectorAll('tbody tr.figures')].map((row) => row.cells[column]);
      return [Math.max(...cells.map((c) => c.getBoundingClientRect().right)),
              document.querySelector('.box').getBoundingClientRect().right];
    """)
    assert right <= edge + 0.5
    marks = browser.run(
        "return [...document.querySelectorAll('tr.figures')].filter((r) => "
        "r.cells[0].dataset.front && getComputedStyle(r.cells[0], '::after').content !== 'none').length"
    )
    assert marks == sum(r["on_front"] for r in plain["runs"])


@pytest.mark.parametrize("qualities", [("estimated", "estimated"), ("measured", "estimated")])
def test_estimated_and_not_on_the_front_have_different_signs(browser, qualities):
    browser.show(
        comparison([run(str(i), 0.9 - 0.1 * i, 1.0 + i, on_front=not i, quality=q) for i, q in enumerate(qualities)])
    )
    other, estimated = (browser.run("return document.querySelector(arguments[0]).innerHTML", f"#legend-{of} svg")
                        for of in ("other", "diamond"))  # fmt: skip
    assert "half" in estimated
    assert "half" not in other


def test_courses_are_drawn_when_asked(browser):
    plain = swept(3, courses={"run-000": [[0.2, 0.3], [0.9, 0.5]], "run-001": [[0.5, 0.6]]})
    browser.show(plain)
    assert browser.all(".course") == []
    browser.all("#courses")[0].click()
    assert len(browser.all(".course")) == 2
    typed(browser, "#filter", "run-001")
    assert len(browser.all(".course")) == 1
    browser.show(swept(3))
    assert not browser.all("#courses")[0].is_displayed()


def repeats(**more):
    runs = [
        run(f"{name}-{i}", accuracy + 0.01 * i, kwh + 0.1 * i, on_front=i == 2)
        for name, accuracy, kwh in (("small", 0.8, 1.0), ("large", 0.9, 5.0))
        for i in range(3)
    ]
    groups = [
        {
            "name": name,
            "n": n,
            "metric": {"mean": accuracy, "sd": 0.01, "low": None, "high": None},
            "energy_kwh": {"mean": kwh, "sd": 0.1, "low": None, "high": None},
            "on_front": True,
            "front_probability": p,
        }
        for name, n, accuracy, kwh, p in (("small", 3, 0.81, 1.1, 0.98), (EVIL, 2, 0.91, 5.1, None))
    ]
    return comparison(runs, groups=groups, **more)


def test_configurations_have_a_table_with_their_scatter():
    verdicts = [
        {"one": "small", "other": EVIL, "kind": "dominated"},
        {"one": EVIL, "other": "small", "kind": "cheaper"},
    ]
    page = render_page(repeats(progress=None, verdicts=verdicts))
    table = page.split('id="of-groups"')[1].split("</table>")[0]
    rows = [re.sub("<[^>]+>", "|", row).split("|") for row in table.split("<tr>")[2:]]
    assert [[text for text in row if text.strip()] for row in rows] == [
        ["small", "n = 3", "0.8100 ± 0.0100", "1.10 ± 0.10 kWh", "0.98", "&ndash;"],
        ["&lt;script&gt;alert(1)&lt;/script&gt;", "n = 2", "0.9100 ± 0.0100", "5.10 ± 0.10 kWh", "&ndash;", "small"],
    ]
    assert "of-groups" not in render_page(FEW)


def test_runs_that_failed_are_told_at_their_group():
    plain = repeats(progress=None)
    failed = [{"run": "x", "reason": "it was interrupted"}] * 2
    plain["groups"][0]["left_out"] = failed
    nothing = {"name": "lost", "n": 0, "left_out": failed, "metric": None, "energy_kwh": None, "on_front": False}
    plain["groups"].append(nothing | {"front_probability": None})
    section = render_page(plain).split('id="of-groups"')[1].split("</table>")[0]
    assert "<small>n = 3 (+2 left out)</small>" in section
    assert 'No run of <bdi dir="auto">lost</bdi> is in the table.' in section
    assert "a configuration that often fails looks better than it is" in section
    plain["groups"] = [plain["groups"][0] | {"left_out": [{"run": "x", "reason": "it is the same run as y, resumed"}]}]
    assert "often fails" not in render_page(plain)


def test_filter_and_front_only_act_on_groups_too(browser):
    """A group is shown where its own row has the words, or one of its runs; of the front where its means are."""
    plain = repeats()
    for one in plain["runs"]:
        one["group"] = {"small": "small", "large": EVIL}[one["name"].partition("-")[0]]
    plain["groups"][1]["on_front"] = False
    browser.show(plain)

    def groups():
        rows = browser.run(
            "return [...document.querySelectorAll('#groups tbody tr')].filter((r) => r.getClientRects().length).length"
        )
        assert rows == len(browser.all(".group")) == len(browser.all(".label"))
        return [n.text for n in browser.all("#groups tbody th bdi") if n.text]

    def runs():
        return [n.text for n in browser.all("#runs tbody th bdi") if n.text]

    assert groups() == ["small", EVIL]
    typed(browser, "#filter", "large-1")
    assert groups() == [EVIL]
    assert runs() == ["large-1"]
    assert browser.all("#shown")[0].text == "1 of 6 runs, 1 of 2 groups shown"
    typed(browser, "#filter", "script")  # in the name of the group alone
    assert groups() == [EVIL]
    assert runs() == []
    typed(browser, "#filter", "")
    browser.all("#front-only")[0].click()
    assert groups() == ["small"]
    typed(browser, "#filter", "large")
    assert groups() == []
    typed(browser, "#filter", "")
    browser.all("#front-only")[0].click()
    assert groups() == ["small", EVIL]
    assert browser.all("#shown")[0].text == ""


def test_configurations_are_drawn_with_bars_in_both_directions(browser):
    browser.show(repeats())
    assert len(browser.all(".group")) == 2
    sizes = browser.run(
        "return [...document.querySelectorAll('.group .bar')].map((n) => [n.getBBox().width, n.getBBox().height])"
    )
    assert all(width > 3 and height > 3 for width, height in sizes)
    assert [n.text for n in browser.all(".label")] == ["small (n = 3)", f"{EVIL[:28]} (n = 2)"]
    assert browser.run("const d = document.documentElement; return d.scrollWidth <= d.clientWidth")
