"""Names and the legend of a picture cover nothing, as matplotlib tells once it is drawn."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lightning_energy import compare, whatif
from lightning_energy.comparison.labels import shortened
from lightning_energy.comparison.what_if_picture import plot
from tests.comparison.pixels import covered, strays
from tests.comparison.replays import course
from tests.records import put

if TYPE_CHECKING:
    from pathlib import Path

mpl = pytest.importorskip("matplotlib")

KINDS = ("apart", "close", "alike", "long")
LONG = "a network with a very long name indeed"


@pytest.fixture(autouse=True)
def plt():
    mpl.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def points(kind: str, n: int) -> list[tuple[str, float, float]]:
    """Name, energy and accuracy of n models."""
    rng = random.Random(f"{kind}{n}")
    if kind == "alike":
        return [(f"model-{i}", 1.0, 0.875) for i in range(n)]
    width = 0.1 if kind == "close" else 1.5
    names = [f"{LONG}, {i}" if kind == "long" else f"model-{i}" for i in range(n)]
    return [(name, 10 ** rng.uniform(0.0, width), rng.uniform(0.80, 0.95)) for name in names]


def named(ax: Any, texts: set[str]) -> list[Any]:
    """The names among the texts of an axis."""
    return [text for text in ax.texts if text.get_text().split(" (n = ")[0] in texts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 8, 30])
def test_names_of_runs(kind, n, tmp_path):
    made = points(kind, n)
    for name, kwh, accuracy in made:
        put(tmp_path / name, kwh, accuracy, spent={"quality": "estimated", "u_absolute": 0.5})
    _, ax = compare(tmp_path).plot()
    names = named(ax, {shortened(name) for name, _, _ in made})
    assert covered(ax, names) == strays(ax, names) == []
    assert len(names) >= {3: 3, 8: 3}.get(n, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 8, 30])
def test_names_of_configurations(kind, n, tmp_path):
    rng, made = random.Random(n), points(kind, n)
    for name, kwh, accuracy in made:
        for seed in range(3):
            what = {"hyperparameters": {"model": name, "seed": seed}}
            put(tmp_path / name / f"{seed}", kwh * rng.uniform(0.9, 1.1), accuracy * rng.uniform(0.99, 1.01),
                what=what, seed=seed)  # fmt: skip
    _, ax = compare(tmp_path).plot()
    names = named(ax, {shortened(name) for name, _, _ in made})
    assert covered(ax, names) == strays(ax, names) == []
    hidden = n - len(names)
    assert (f"{hidden} configuration" in ax.get_title(loc="left")) == (hidden > 0)
    assert len(names) >= {3: 3, 8: 3}.get(n, 1)


def stops(n: int, kind: str, folder: Path) -> Any:
    """Replays of one run, of which n stop: near each other, or all at one place."""
    found = whatif(course(folder).parent, point=0.03125, patience=2)
    (of,) = found.runs
    rng, pattern = random.Random(n), next(r for r in of.replays if r.stops)
    saved = [0.5 if kind == "alike" else 0.4 + rng.uniform(0.0, 0.02 * n) for _ in range(n)]
    many = [  # each of the kind whose names are free
        replace(pattern, kind="efficiency", rule=f"{LONG if kind == 'long' else 'its mean'} x {i}", saved=s, points=0.0)
        for i, s in enumerate(saved)
    ]
    return replace(found, runs=(replace(of, replays=tuple(many)),))


@pytest.mark.parametrize("kind", ["close", "alike", "long"])
@pytest.mark.parametrize("n", [3, 8, 30])
def test_names_of_stops(kind, n, tmp_path):
    _, ax = plot(stops(n, kind, tmp_path / "run"))
    names = [text for text in ax.texts if text.get_text()]
    assert covered(ax, names) == strays(ax, names) == []
    assert names or "without room for a name" in ax.get_title(loc="left")
