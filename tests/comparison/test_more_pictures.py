from __future__ import annotations

import time
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")

from lightning_energy import compare
from lightning_energy.comparison.group_picture import sentence
from lightning_energy.comparison.more_pictures import draw_courses, draw_ranks, plot_courses, plot_ranks
from lightning_energy.comparison.table import as_csv, text
from lightning_energy.results.write import write_record
from tests.records import put, record


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("a window"))
    plt.switch_backend("agg")
    yield
    plt.close("all")


def repeated(folder, seeds=3):
    """Two configurations with some seeds each: of ``large`` the first seed never reaches 0.9."""
    for name, kwh, accuracy in (("small", 1.0, 0.8), ("large", 4.0, 0.92)):
        for seed in range(seeds):
            last = accuracy - 0.03 * (seed == 0)
            put(
                folder / name / f"seed_{seed}",
                kwh * (1 + 0.01 * seed),
                last,
                run_id=f"{name}{seed}",
                epochs=(accuracy - 0.3, last),
                epochs_kwh=(kwh / 2, kwh * (1 + 0.01 * seed)),
                what={"hyperparameters": {"model": name, "seed": seed}},
            )
    return folder


def texts(figure):
    from matplotlib.text import Text

    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


def test_configurations_have_bars_in_both_directions_and_a_probability(tmp_path):
    comparison = compare(repeated(tmp_path))
    figure, ax = comparison.plot()
    shown = texts(figure)
    assert any(t.startswith("small (n = 3, p ") for t in shown)
    assert any(t.startswith("large (n = 3, p ") for t in shown)
    bars = [c for c in ax.containers if c.has_xerr and c.has_yerr]
    assert len(bars) == 2
    two = " ".join(" ".join(texts(compare(repeated(tmp_path / "two", 2)).plot()[0])).split())
    assert (
        "(none for 2: fewer than 3 runs, no spread (also of early stops), one seed in several runs, runs of several "
        "settings, missing" in two
    )
    assert "is on the front of the configurations like it that have one" in sentence(comparison.configurations)
    assert "single run" in sentence(comparison.configurations)
    assert "(flat prior), by the scatter of repeats alone" in sentence(comparison.configurations)


def test_estimates_have_no_probability_and_the_picture_says_why(tmp_path):
    for name, kwh in (("small", 1.0), ("large", 4.0)):
        for seed in range(3):
            put(
                tmp_path / name / f"seed_{seed}",
                kwh + seed / 100,
                0.8 + kwh / 100,
                run_id=f"{name}{seed}",
                spent={"quality": "estimated"},
                what={"hyperparameters": {"model": name, "seed": seed}},
            )
    comparison = compare(tmp_path)
    shown = texts(comparison.plot()[0])
    assert "small (n = 3)" in shown
    assert "Estimates have no p, as their error is not in the scatter of repeats." in " ".join(" ".join(shown).split())
    assert "posterior" not in sentence(comparison.configurations)
    assert [group["front_probability"] for group in comparison.to_plain()["groups"]] == [None, None]


def test_runs_that_do_not_reach_a_target_count_in_the_table(tmp_path):
    comparison = compare(repeated(tmp_path), target=(0.7, 0.9))
    lines = [" ".join(line.split()) for line in text(comparison).splitlines()]
    assert "group kWh to 0.7 kWh to 0.9" in lines
    assert "small 1.01 (1 to 1.02, 3 of 3) ≥ 1.01 (0 of 3)" in lines
    assert "large 4.04 (4 to 4.08, 3 of 3) 4.08 (4.04 or more, 2 of 3)" in lines
    assert "0.9=>1.0" in as_csv(comparison)
    whole = comparison.progress()
    assert (whole.budget_kwh, whole.floor) == (pytest.approx(4.08), 0.0)
    # small: 0.5 from 0.5 to 1 kWh, then 0.77 or 0.8
    small = 0.5 * 0.5 * 3 + 0.77 * 3.08 + 0.8 * 3.07 + 0.8 * 3.06 + 0.5 * (0.01 + 0.02)
    found = {of.name: of for of in whole.configurations}
    assert found["small"].area == pytest.approx(small / 3)
    assert found["small"].mean_best == pytest.approx(small / 3 / 4.08)
    assert found["large"].targets[1].n_reached == 2
    assert "Hypervolume of all validations: " in text(comparison)
    assert "the best of all runs at each energy averages " in whole.sentence()


def test_unlike_configurations_are_left_out_and_counted(tmp_path):
    """Two GPUs and one with its memory, whose 8 kWh and whose worst loss are no reference of the others."""
    names = ({"gpu1": 1.0, "gpu2": 2.0, "both": 8.0}, {"gpu1": 0.9, "gpu2": 0.95, "both": 0.99})
    scopes = {"both": ("gpu", "dram")}
    for kind, metric in (("acc", {}), ("loss", {"name": "val_loss", "mode": "min", "scale": "raw"})):
        for name, kwh in names[0].items():
            last = names[1][name] if kind == "acc" else 2 - names[1][name]
            put(tmp_path / kind / name, kwh, last, epochs=(last,), epochs_kwh=(kwh / 2,),
                scopes=scopes.get(name, ("gpu",)), **metric)  # fmt: skip
    comparison = compare(tmp_path / "acc", target=0.9)
    whole = comparison.progress()
    # 0.9 from 0.5 to 1 kWh, the energy of the longest course
    assert (whole.hypervolume, whole.reference, whole.left_out) == (pytest.approx(0.45), (1.0, 0.0), 1)
    assert whole.budget_kwh == 4.0
    assert whole.sentence() == (
        "Hypervolume of the configurations that may be set against each other (1 of another kind is left out): 0.45 "
        "kWh times accuracy (reference point: 1 kWh and accuracy 0); the best of their runs at each energy averages "
        "0.4500 up to it, where 0 counts until the first validation."
    )
    words = "1 configuration of another kind is left out, as unlike things are not ranked against each other."
    assert words in comparison.stability().sentences()
    assert any("unlike energies: not to be compared" in t for t in texts(plot_courses(comparison)[0]))
    assert any("1 of another kind left out" in t for t in texts(plot_ranks(comparison)[0]))
    of_loss = compare(tmp_path / "loss").progress()
    assert of_loss.reference == (1.0, pytest.approx(1.1))
    plain = compare([tmp_path / "acc" / "gpu1", tmp_path / "acc" / "gpu2"])
    assert plain.progress().left_out == plain.stability().left_out == 0
    assert "left out" not in plain.progress().sentence()


def test_the_hypervolume_has_failures_of_its_kind_and_no_others(tmp_path):
    """A configuration whose runs were all cut off, one run that diverged, and one that was cut off on other sensors."""

    def of(model, seed, **more):
        return {"what": {"hyperparameters": {"model": model}}, "seed": seed, **more}

    put(tmp_path / "a", 1.0, 0.8, epochs=(0.8,), epochs_kwh=(1.0,), **of("a", 1))
    put(tmp_path / "b", 2.0, 0.9, epochs=(0.9,), epochs_kwh=(2.0,), **of("b", 1))
    put(tmp_path / "c", 0.5, 0.85, epochs=(0.85,), epochs_kwh=(0.5,), **of("c", 1, outcome="interrupted"))
    plain = compare(tmp_path).progress()
    # 0.85 from 0.5 to 2 kWh
    assert (plain.hypervolume, plain.reference, plain.left_out) == (pytest.approx(1.275), (2.0, 0.0), 0)
    assert plain.sentence().startswith("Hypervolume of all validations: 1.275 kWh")
    diverged = record(3.0, 0.95, epochs=(0.95, None), epochs_kwh=(0.25, 3.0), **of("b", 2))
    rows = [diverged.epochs[0], replace(diverged.epochs[1], no_metric="val_acc=nan is not finite")]
    (tmp_path / "d").mkdir()
    write_record(tmp_path / "d" / "energy.json", replace(diverged, epochs=rows))
    other = {"device": "GPU-2", "outcome": "interrupted"}
    put(tmp_path / "e", 0.1, 0.99, epochs=(0.99,), epochs_kwh=(0.01,), **of("c", 2, **other))
    whole = compare(tmp_path).progress()
    assert (whole.hypervolume, whole.left_out) == (pytest.approx(0.95 * 1.75), 1)


def test_a_run_in_two_records_counts_once_in_targets(tmp_path):
    """A copy of one that reached 0.9, and what a crash had left of the one that did not, which then went on."""
    repeated(tmp_path)
    again = {"hyperparameters": {"model": "large", "seed": 2}}
    put(tmp_path / "large" / "copy", 4.08, 0.92, run_id="large2", epochs=(0.62, 0.92), epochs_kwh=(2, 4.08), what=again)
    again = {"hyperparameters": {"model": "large", "seed": 0}}
    put(
        tmp_path / "large" / "cut",
        2.0,
        0.62,
        outcome="interrupted",
        run_id="large0",
        epochs=(0.62,),
        epochs_kwh=(2.0,),
        what=again,
    )
    comparison = compare(tmp_path, target=(0.7, 0.9))
    lines = [" ".join(line.split()) for line in text(comparison).splitlines()]
    assert "large 4.04 (4 to 4.08, 3 of 3) 4.08 (4.04 or more, 2 of 3)" in lines
    found = {of.name: of.targets[1] for of in comparison.progress().configurations}
    assert (found["large"].n, found["large"].n_reached, found["large"].unknown) == (3, 2, 0)


def test_a_run_that_was_interrupted_is_seen_and_counts_as_one_that_did_not_reach_it(tmp_path):
    repeated(tmp_path)
    put(
        tmp_path / "small" / "seed_9",
        0.4,
        0.5,
        outcome="interrupted",
        run_id="cut",
        epochs=(0.5,),
        epochs_kwh=(0.4,),
        what={"hyperparameters": {"model": "small", "seed": 9}},
    )
    comparison = compare(tmp_path, target=0.7)
    assert "small 1.01 (1 or more, 3 of 4)" in [" ".join(line.split()) for line in text(comparison).splitlines()]
    assert "run that did not end, or a copy: in no mean" in texts(comparison.plot()[0])
    plain = {group["name"]: group for group in comparison.to_plain()["groups"]}
    assert (plain["small"]["n"], plain["small"]["left_out"][0]["reason"]) == (3, "it was interrupted")


def test_courses_and_ranks_are_drawn(tmp_path):
    comparison = compare(repeated(tmp_path), target=0.9)
    figure, ax = plot_courses(comparison)
    assert any(t.startswith("large (n = 3): 0.") for t in texts(figure))
    assert "mean up to 4.08 kWh (until the first validation: 0)" in texts(figure)
    assert "0.9" in texts(figure)
    assert len(ax.collections) == 2  # a band each
    figure, _ = plot_ranks(comparison)
    assert {"  small", "  large"} <= {*texts(figure)}
    for draw, name in ((draw_courses, "courses.png"), (draw_ranks, "ranks.svg")):
        draw(comparison, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


def test_without_epochs_or_a_score_the_pictures_say_so(tmp_path):
    put(tmp_path / "a", 1.0, 30.0, name="val_ppl", mode="min", scale="raw")
    put(tmp_path / "b", 2.0, 20.0, name="val_ppl", mode="min", scale="raw")
    comparison = compare(tmp_path, target=25)
    assert "no record has epochs with val_ppl and energy" in texts(plot_courses(comparison)[0])
    assert "fewer than two configurations that may be ranked against each other have a score" in texts(
        plot_ranks(comparison)[0]
    )
    assert "2 of 2 records have no epoch with a value of val_ppl that can be read: they" in text(comparison)
    assert comparison.progress() is comparison.stability() is None


def test_courses_say_how_many_configurations_they_lack(tmp_path):
    """One of which a run has no epochs, and one of which no run ended."""
    repeated(tmp_path)
    put(tmp_path / "small" / "x", 1.0, 0.8, run_id="x", what={"hyperparameters": {"model": "small", "seed": 9}})
    one = " ".join(texts(plot_courses(compare(tmp_path))[0]))
    assert "1 configuration is not drawn, as a run of it has no course, or none ended" in one
    put(tmp_path / "cut", 1.0, 0.8, epochs=(0.8,), epochs_kwh=(1.0,), outcome="interrupted",
        what={"hyperparameters": {"model": "cut", "seed": 9}})  # fmt: skip
    two = " ".join(texts(plot_courses(compare(tmp_path))[0]))
    assert "2 configurations are not drawn, as a run of each has no course, or none ended" in two


def test_names_are_shown_as_they_are(tmp_path):
    for name, kwh in (("$x", 1.0), ("_y", 2.0)):
        put(tmp_path / name, kwh, 0.8 + kwh / 100, epochs=(0.8,), epochs_kwh=(kwh,))
    comparison = compare(tmp_path)
    assert "  $x" in texts(plot_ranks(comparison)[0])
    draw_courses(comparison, tmp_path / "c.png")


@pytest.mark.slow
def test_a_thousand_runs_are_compared_in_seconds(tmp_path):
    """All that a comparison has to say, of 1,000 records with 10 epochs each; of the processor, whatever else runs."""
    epochs = {"epochs": tuple(0.5 + e / 100 for e in range(10)), "epochs_kwh": tuple(e + 0.25 for e in range(10))}
    one = put(tmp_path / "one", 10.125, 0.123, what={"hyperparameters": {"model": 77, "seed": 88}}, **epochs)
    written = one.read_text()
    for i in range(1, 1000):
        folder = tmp_path / f"run{i}"
        folder.mkdir()
        changed = written.replace("0.123", f"{0.5 + (i * 37 % 400) / 1000}").replace("77", f"{i // 5}")
        (folder / one.name).write_text(changed.replace("88", f"{i % 5}"))
    before = time.process_time()
    comparison = compare(tmp_path, target=(0.52, 0.7))
    text(comparison)
    comparison.to_html()
    assert len(comparison.runs) == 1000
    assert time.process_time() - before < 10.0
