from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lightning_energy import compare
from lightning_energy.comparison.picture import KINDS, draw
from tests.records import put

pytestmark = pytest.mark.slow

mpl = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    mpl.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def comparison(tmp_path):
    put(tmp_path / "small", 0.01, 0.80)
    put(tmp_path / "large", 0.2, 0.95)
    put(tmp_path / "waste", 0.4, 0.90)
    put(tmp_path / "close", 0.2001, 0.94)
    put(tmp_path / "unscored", 0.3, None)
    return compare(tmp_path, reference_kwh=0.1)


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_what_is_in_the_picture(comparison):
    figure, ax = comparison.plot()
    assert ax.figure is figure
    assert ax.get_xscale() == "log"
    assert "in watt hours" in ax.get_xlabel()
    assert "accuracy" in ax.get_ylabel()
    assert "4 runs (1 more without accuracy or energy)" in ax.get_title(loc="left")
    assert "reference 0.1 kWh" in ax.get_title(loc="left")
    assert {"small", "large", "waste", "close"} <= {*texts(ax)}
    assert "unscored" not in texts(ax)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [
        "on the Pareto front",
        "behind it, by the meter",
        "equal score",
    ]
    assert {f"{score:g}" for score, _ in comparison.iso_scores()} <= {*texts(ax)}


def shown_ticks(ax) -> list[str]:
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    return [t.get_text() for t, x in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True) if low <= x <= high]


@pytest.mark.parametrize(
    ("energies", "unit", "some"),
    [
        ((2e-6, 9e-6), "joules", ["7 J", "10 J", "20 J", "30 J"]),
        ((1e-5, 2e-3), "joules", ["50 J", "1 kJ"]),
        ((2e-3, 9e-2), "watt hours", ["2 Wh", "50 Wh"]),
        ((0.5, 90.0), "watt hours", ["500 Wh", "1 kWh", "50 kWh"]),
        ((1e-6, 1e3), "watt hours", ["10 mWh", "1 Wh", "100 kWh"]),
    ],
)
def test_ticks_are_round_in_a_unit_that_can_be_read(tmp_path, energies, unit, some):
    for i, kwh in enumerate(energies):
        put(tmp_path / f"run{i}", kwh, 0.8 + 0.1 * i)
    _, ax = compare(tmp_path).plot()
    assert f"in {unit}" in ax.get_xlabel()
    ticks = shown_ticks(ax)
    assert {*some} <= {*ticks}
    assert all(re.fullmatch(r"[1-57]0?0? [Mkmµ]?(J|Wh)", tick) for tick in ticks), ticks
    assert len({*ticks}) == len(ticks) <= 12


def points_of(ax) -> dict[tuple[float, float], tuple[str, str]]:
    """Shape and face of every point, by energy and accuracy."""
    return {
        (x, y): (line.get_marker(), line.get_markerfacecolor())
        for line, _, _ in ax.containers
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


def test_estimated_runs_are_diamonds_and_the_legend_says_so(tmp_path):
    estimated = {"quality": "estimated", "u_absolute": 0.3}
    put(tmp_path / "a", 1.0, 0.8)
    put(tmp_path / "b", 2.0, 0.9, spent=estimated)
    put(tmp_path / "c", 9.0, 0.7, spent=estimated)
    comparison = compare(tmp_path)
    _, ax = comparison.plot()
    energies = {run.name: run.energy_kwh for run in comparison.runs}
    shapes = {name: points_of(ax)[energies[name], acc] for name, acc in (("a", 0.8), ("b", 0.9), ("c", 0.7))}
    assert shapes == {"a": ("o", "#0072B2"), "b": ("D", "#0072B2"), "c": ("D", "white")}
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names.count("energy estimated, not measured") == names.count("on the Pareto front") == 1


def test_the_legend_has_the_shape_that_is_drawn(tmp_path):
    for i in range(2):
        put(tmp_path / f"run{i}", 1.0 + i, 0.8 + 0.1 * i, spent={"quality": "estimated", "u_absolute": 0.3})
    _, ax = compare(tmp_path).plot()
    signs = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    assert signs["on the Pareto front"][0].get_marker() == "D"


def test_the_front_is_a_step_line_to_the_edge(comparison):
    _, ax = comparison.plot()
    (steps,) = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert [*steps.get_xdata()] == pytest.approx([0.01, 0.2, ax.get_xlim()[1]])
    assert [*steps.get_ydata()] == [0.80, 0.95, 0.95]


@pytest.fixture
def perplexities(tmp_path):
    for name, kwh, value in (("small", 0.01, 40.0), ("large", 0.2, 20.0), ("waste", 0.4, 30.0)):
        put(tmp_path / name, kwh, value, name="val_$ppl", mode="min", scale="raw")
    put(tmp_path / "other", 0.3, 0.9)
    return compare(tmp_path)


def test_where_less_is_better_the_front_steps_down_and_there_is_no_score(perplexities):
    _, ax = perplexities.plot()
    assert ax.get_ylabel() == "val_$ppl (last value, less is better)"
    assert ax.get_title(loc="left") == "3 runs (1 more without val_$ppl or energy)"
    (steps,) = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert [*steps.get_xdata()] == pytest.approx([0.01, 0.2, ax.get_xlim()[1]])
    assert [*steps.get_ydata()] == [40.0, 20.0, 20.0]
    assert "equal score" not in [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"small", "large", "waste"} <= {*texts(ax)}
    ax.figure.canvas.draw()  # a name is no formula
    (label,) = [text for text in ax.texts if text.get_text() == "large"]
    assert label.get_verticalalignment() == "top"  # below the front, where no dominated run is


def test_bars_are_the_absolute_uncertainty(comparison):
    _, ax = comparison.plot()
    spans = {}
    for container in ax.containers:
        (bars,) = container[2]
        for (x, y), (to_x, _) in bars.get_segments():
            spans[y] = (x, to_x)
    for run in comparison.drawable:
        assert spans[run.metric] == pytest.approx((run.energy_kwh - run.u_kwh, run.energy_kwh + run.u_kwh))


def test_it_is_drawn_on_an_axis_that_is_given(comparison):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2)
    drawn, ax = comparison.plot(axes[1])
    assert (drawn, ax) == (figure, axes[1])
    assert not axes[0].lines


@pytest.mark.parametrize("repeats", [1, 2])
def test_labels_do_not_lie_on_each_other(tmp_path, repeats):
    """A hundred runs, or as many points of two runs each."""
    for i in range(100 * repeats):
        what = {"hyperparameters": {"model": f"model-{i % 100:03d}"}}
        accuracy = 0.5 + (i % 100 * 37 % 100) / 250
        put(tmp_path / f"model-{i % 100:03d}" / f"{i}", 10 ** (i % 100 % 17 / 5), accuracy, what=what, seed=i)
    figure, ax = compare(tmp_path).plot()
    assert ("without room for a name" in ax.get_title(loc="left")) == (repeats == 2)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text().startswith("model")]
    assert len(boxes) > 5  # more would stand nearer to another point than to their own
    for i, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[i + 1 :])
    frame = ax.get_window_extent()
    assert all(frame.contains(*box.min) and frame.contains(*box.max) for box in boxes)


def test_caveats_are_in_the_picture(tmp_path):
    put(tmp_path / "a", 1.0, 0.8, spent={"quality": "estimated", "u_absolute": 0.5})
    put(tmp_path / "b", 2.0, 0.9, board="NVIDIA H100", name="valid/accuracy", scopes=("gpu", "package"))
    _, ax = compare(tmp_path).plot()
    shown = "\n".join(texts(ax))
    assert "different names" in shown
    assert "and 1 more caveats" in shown


@pytest.mark.parametrize("suffix", ["png", "svg", "SVG"])
def test_files(comparison, tmp_path, suffix):
    file = tmp_path / "new" / f"picture.{suffix}"
    draw(comparison, file)
    content = file.read_bytes()
    if suffix == "png":
        assert content.startswith(b"\x89PNG")
    else:
        shown = [element.text for element in ET.fromstring(content).iter("{http://www.w3.org/2000/svg}text")]
        assert "small" in shown
        assert b"dc:date" not in content
        draw(comparison, file)
        assert file.read_bytes() == content


def test_no_other_file(comparison, tmp_path):
    with pytest.raises(ValueError, match="neither a .png nor a .svg"):
        draw(comparison, tmp_path / "picture.gif")


@pytest.mark.parametrize("name", ["$\\frac{$", "<script>alert(1)</script>", "{}%s"])
def test_names_are_shown_as_they_are(tmp_path, name):
    put(tmp_path / name.replace("/", "_"), 1.0, 0.8)
    put(tmp_path / "other", 2.0, 0.9)
    file = tmp_path / "picture.svg"
    draw(compare(tmp_path), file)
    tree = ET.parse(file)
    assert name.replace("/", "_") in [e.text for e in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert not [*tree.iter("{http://www.w3.org/2000/svg}script")]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1.0, 0.9)],
        [(1.0, 0.9), (1.0, 0.9)],
        [(1e-12, 0.0), (1e6, 1.0)],
        [(0.0, 0.5)],
        [(1e-7, 1.0), (1.1e-7, 1.0)],
    ],
)
def test_any_points_can_be_drawn(tmp_path, points):
    for i, (kwh, accuracy) in enumerate(points):
        put(tmp_path / f"run{i}", kwh, accuracy, spent={"u_absolute": 1.5})
    figure, ax = compare(tmp_path).plot()
    figure.canvas.draw()
    assert all(math.isfinite(limit) for limit in (*ax.get_xlim(), *ax.get_ylim()))
    if not [kwh for kwh, _ in points if kwh]:
        assert f"no run with {'accuracy' if points else 'metric'} and energy" in texts(ax)


def has_colour(image, name: str) -> bool:
    return bool((abs(image[..., :3] - mpl.colors.to_rgb(name)) < 0.5 / 255).all(axis=-1).any())


def test_the_picture_in_the_docs_has_the_size_and_colours_of_ours(comparison, tmp_path):
    """The runs that it was drawn of are not kept, so no more of it can be compared."""
    draw(comparison, tmp_path / "ours.png")
    ours = mpl.image.imread(tmp_path / "ours.png")
    shown = mpl.image.imread(Path(__file__).parents[2] / "docs/images/compare.png")
    assert shown.shape == ours.shape
    for name, edge, _, _ in KINDS[:2]:  # repeats alone are dominated
        assert has_colour(ours, edge), name
    assert has_colour(shown, KINDS[0][1])  # every comparison has a front
    assert not has_colour(shown, "#123456")
