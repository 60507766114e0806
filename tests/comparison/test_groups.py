from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from lightning_energy import compare
from lightning_energy.comparison.course import Validation
from lightning_energy.comparison.groups import group_runs, mean_of
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.run_source import Source, settings_of
from lightning_energy.results.record import NAME
from lightning_energy.results.write import write_record
from tests.records import put, record


def train(folder, kwh, accuracy, *, run_id="", **hyperparameters):
    """A record with hyperparameters, without a training."""
    what = {"module": "Net", "parameters": 9, "hyperparameters": hyperparameters}
    outcome = hyperparameters.pop("outcome", "completed")
    made = record(kwh, accuracy, run_id=run_id, outcome=outcome)
    write_record(folder / NAME, replace(made, what=what))


def run(name, *, seed=None, kwh=1.0, metric=0.9, outcome="completed", run_id="", path="", **settings):
    source = Source("a", run_id=run_id, settings=settings, has_hyperparameters=bool(settings), seed=seed)
    return Run(name, path, metric=metric, energy_kwh=kwh, outcome=outcome, source=source)


def members(groups):
    return {group.name: [run.name for run in group.runs] for group in groups}


def test_a_mean_has_the_interval_of_students_t():
    """The sd of 1, 2, 3 is 1; t of 2 degrees of freedom is 4.303, over the root of 3: 2.484."""
    mean = mean_of([1.0, 2.0, 3.0])
    assert (mean.n, mean.mean, mean.sd) == (3, 2.0, 1.0)
    assert (mean.low, mean.high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert (mean_of([5.0]).sd, mean_of([5.0]).low, mean_of([])) == (None, None, None)
    same = mean_of([0.95] * 3)
    assert (same.mean, same.low, same.high) == (pytest.approx(0.95), None, None)  # no spread, and so no interval


def test_runs_that_differ_in_the_seed_alone_are_a_group():
    runs = [
        run(f"{model}/version_{seed}", seed=seed, model=model, lr=0.1) for model in ("cnn", "mlp") for seed in (1, 2)
    ]
    groups = group_runs(runs)
    assert members(groups) == {"cnn": ["cnn/version_1", "cnn/version_2"], "mlp": ["mlp/version_1", "mlp/version_2"]}
    assert [group.seeds for group in groups] == [(1, 2), (1, 2)]
    assert groups[0].settings == {"model": "cnn"}
    assert settings_of({"module": "N", "hyperparameters": {"a": {"seed": 3, "b": 1}}}) == (
        {"module": "N", "a/b": 1},
        {"a/seed": 3},
    )
    seeds = ("3", 3.0, True, "x", 3.5, float("nan"), None)
    assert [settings_of({"hyperparameters": {"seed": s}})[1] for s in seeds] == [{"seed": 3}] * 2 + [{}] * 5


def test_names_tell_the_settings_where_the_runs_share_no_name():
    runs = [run(f"{i}", seed=i, model="mlp" if i % 2 else "cnn", lr=0.1) for i in range(4)]
    assert members(group_runs(runs)) == {"model=cnn": ["0", "2"], "model=mlp": ["1", "3"]}


def test_records_that_say_too_little_are_not_put_together():
    assert members(group_runs([run("a"), run("b")])) == {"a": ["a"], "b": ["b"]}


def test_without_hyperparameters_runs_of_one_seed_are_no_repeats(tmp_path):
    """Two learning rates that no record has, each with the same seeds; or one seed for whatever is tried."""
    for seeds, n in (((0, 1, 0, 1), 4), ((42, 42, 42), 3), ((0, 1, 2), 1)):
        for i, seed in enumerate(seeds):
            put(tmp_path / f"{seeds}/lr{i}", 1.0 + i, 0.9, seed=seed, run_id=f"r{i}")
        put(tmp_path / f"{seeds}/copy", 1.0, 0.9, seed=seeds[0], run_id="r0")
        put(tmp_path / f"{seeds}/cut", 0.5, 0.9, seed=seeds[1], run_id="c", outcome="interrupted")
        found = compare(tmp_path / f"{seeds}")
        assert [group.n for group in found.groups if group.n] == ([1] * n if n > 1 else [3])
        assert sum(len(group.left_out) for group in found.groups) == 2
        words = f"{n + 2} of {n + 2} runs have no hyperparameters in their records, and seeds come twice"
        assert [text.startswith(words) for text in found.caveats] == [True] * (n > 1)
        assert [group.n for group in compare(tmp_path / f"{seeds}", by="folder").groups] == [len(seeds)]


def test_a_seed_alone_is_no_hyperparameter_that_says_how_a_run_was_trained(tmp_path):
    """Who gives the seed as a hyperparameter, and nothing else, has two learning rates that no record has."""
    for i, seed in enumerate((0, 1, 2, 0, 1, 2)):
        put(tmp_path / f"{i}", 1.0 + i, 0.9, run_id=f"r{i}", what={"hyperparameters": {"seed": seed}})
    found = compare(tmp_path)
    assert [group.n for group in found.groups] == [1] * 6
    assert any(text.startswith("6 of 6 runs have no hyperparameters") for text in found.caveats)


def test_without_hyperparameters_runs_that_go_on_have_seeds_too(tmp_path):
    """Of two learning rates that no record has, trained at once, those are done first that differ in their seed."""
    for i, (seed, outcome) in enumerate(zip((0, 1, 2, 0, 1, 2), ("completed", "running") * 3, strict=True)):
        put(tmp_path / f"{i}", 1.0 + i, 0.9, run_id=f"r{i}", seed=seed, outcome=outcome)
    assert [group.n for group in compare(tmp_path).groups if group.n] == [1] * 3


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("none", {"a": ["a"], "b": ["b"], "c": ["c"]}),
        ("folder", {"x": ["a", "b"], "y": ["c"]}),
        (["lr"], {"lr=1": ["a"], "lr=2": ["b", "c"]}),
        ({"a": "one", "c": "one"}, {"one": ["a", "c"], "b": ["b"]}),
        (lambda run: "all", {"all": ["a", "b", "c"]}),
    ],
)
def test_groups_can_be_named(by, expected):
    places = {"a": "/r/x/1", "b": "/r/x/2", "c": "/r/y/1"}
    runs = [run(n, path=f"{p}/{NAME}", lr=1 if n == "a" else 2, seed=i) for i, (n, p) in enumerate(places.items())]
    assert members(group_runs(runs, by)) == expected


def test_what_did_not_end_is_shown_and_in_no_mean():
    runs = [
        run("a", seed=1, run_id="r", kwh=2.0, lr=1),
        run("begun", seed=1, run_id="r", kwh=1.0, lr=1),
        run("crashed", seed=2, outcome="interrupted", kwh=0.1, lr=1),
        run("going", seed=3, outcome="running", lr=1),
        run("blind", seed=4, metric=None, lr=1),
    ]
    (group,) = group_runs(runs)
    assert [r.name for r in group.runs] == ["a"]
    assert group.energy.mean == 2.0
    assert {r.name: reason for r, reason in group.left_out} == {
        "begun": "it is the same run as a, resumed or copied",
        "crashed": "it was interrupted",
        "going": "it is running",
        "blind": "its metric is not known",
    }
    assert group.lost == 3


def test_a_copy_of_a_record_without_an_id_is_known_by_its_contents(tmp_path):
    """Records of before runs had one; two runs of the same figures are two."""
    for seed in range(3):
        train(tmp_path / f"runs/{seed}", 1.0, 0.9, lr=1, seed=seed, run_id="")
    shutil.copytree(tmp_path / "runs", tmp_path / "backup")
    (group,) = compare(tmp_path).groups
    assert (group.n, group.lost, len(group.left_out)) == (3, 0, 3)


@pytest.mark.parametrize("values", ["abc", (0, 1, 2), (0.1, 0.2, 0.3), ("sgd", "sgd", "adam")])
def test_whatever_else_differs_makes_no_other_seed(values):
    runs = [run(n, seed=42, run_id=n, setting=value) for n, value in zip("xyz", values, strict=True)]
    assert group_runs(runs, lambda r: "all")[0].repeats_a_seed
    others = [replace(r, source=replace(r.source, seed=i)) for i, r in enumerate(runs)]
    assert not group_runs(others, lambda r: "all")[0].repeats_a_seed


@pytest.mark.parametrize("name", ["model/id", "data/path", "dataset/dir", "root_dir", "dir", "time"])
def test_no_setting_of_a_model_or_of_data_is_a_label(name):
    """Three models, or sets of data, once each: no repeats of one configuration, although none comes twice."""
    runs = [run(str(i), seed=i, run_id=str(i), lr=1, **{name: value}) for i, value in enumerate("abc")]
    (group,) = group_runs(runs, by="lr")
    assert group.differs_in == [name]


def test_labels_and_paths_make_no_mixture_and_numbers_count_by_value():
    labels = [{"run_name": n, "trial": i, "log_dir": f"runs/{i}", "id": i} for i, n in enumerate("abc")]
    runs = [run(str(i), seed=i, run_id=str(i), lr=(1, 1.0, "1e0")[i], **of) for i, of in enumerate(labels)]
    (group,) = group_runs(runs, lambda r: "all")
    assert group.differs_in == []
    numbers = (
        "repetition",
        "trial_number",
        "run_number",
        "rep_idx",
        "slurm_job_id",
        "JobID",
        "pid",
        "start_time",
        "a/repeat",
    )
    others = [run(str(i), seed=i, **dict.fromkeys(numbers, i)) for i in range(3)]
    assert group_runs(others, lambda r: "all")[0].differs_in == []
    assert [g.n for g in group_runs(runs, "lr")] == [3]
    for name, values in (
        ("backbone", "a/b a/b a/c"),
        ("drop_path", "0 0 1"),
        ("model_id", "x y z"),
        ("max_time", "1 2 3"),
        ("number", "1 2 3"),
        ("trial", "0 0 1"),
    ):
        runs = [run(str(i), seed=i, run_id=str(i), **{name: v}) for i, v in enumerate(values.split())]
        assert group_runs(runs, lambda r: "all")[0].differs_in == [name]
    assert [g.n for g in group_runs([run("a", v=True, seed=0), run("b", v=1, seed=1)], "v")] == [1, 1]


def test_no_setting_is_one_of_none_and_numbers_in_lists_count_by_value():
    runs = [run("a0", seed=0, w=[8, 16], lr=1), run("a1", seed=1, w=[8.0, 16.0], lr=1, clip=None)]
    (group,) = group_runs(runs)
    assert (group.n, group.differs_in) == (2, [])
    assert [g.n for g in group_runs([*runs, run("a2", seed=2, w=[8, 16], lr=1, clip=0)])] == [2, 1]


def test_what_a_crash_left_of_a_run_that_went_on_is_no_run_that_failed():
    cut = run("cut", seed=1, outcome="interrupted", run_id="r", kwh=0.5, lr=1)
    (group,) = group_runs([cut, run("end", seed=1, run_id="r", lr=1), run("b", seed=2, run_id="s", lr=1)])
    assert [(r.name, reason) for r, reason in group.left_out] == [
        ("cut", "it is the same run as end, resumed or copied")
    ]
    assert group.lost == 0


def test_compare_finds_groups_and_judges_them(tmp_path):
    """The small one spends 1 kWh for 0.95, the large 2 kWh for 0.90, each with a spread of 1 %."""
    for seed in range(4):
        off = (-0.01, 0.01, -0.005, 0.005)[seed]
        train(tmp_path / f"small_{seed}", 1 + off, 0.95 + off / 5, width=8, seed=seed)
        train(tmp_path / f"large_{seed}", 2 + off * 3, 0.90 - off / 4, width=99, seed=seed)
    train(tmp_path / "large_9", 0.2, 0.3, width=99, seed=9, outcome="interrupted")
    comparison = compare(tmp_path)
    small, large = comparison.groups
    assert (small.name, small.n, large.name, large.n) == ("small", 4, "large", 4)
    (verdict,) = comparison.verdicts
    assert (verdict.one, verdict.other, verdict.kind, verdict.pairs) == ("small", "large", "dominated", 4)
    runs = {run.name: run for run in comparison.runs}
    assert (runs["large_1"].dominated_by, runs["large_1"].group) == (("small",), "large")
    assert runs["small_1"].dominated_by == ()
    table = str(comparison)
    assert "small dominates large: 50 % cheaper and better by 0.0500 (paired by 4 seeds)." in table
    assert "large_9 is in no mean of large: it was interrupted." in table
    assert comparison.to_plain()["groups"][0]["energy_kwh"]["n"] == 4
    alone = compare(tmp_path, by="none")
    assert alone.verdicts == []
    assert all(run.dominated_by == () for run in alone.runs)
    margin = compare(tmp_path, margin=0.1).verdicts[0]
    assert margin.kind == "dominated"
    name = comparison.groups[0].name
    assert len(compare(tmp_path, baseline=name).verdicts) == 1
    unknown = compare(tmp_path, baseline="nothing")
    assert unknown.verdicts == []
    known = ", ".join(group.name for group in comparison.groups)
    assert unknown.problems == [
        f"baseline='nothing' is no group with a run, so that nothing is decided: give one of {known}"
    ]


def test_one_thing_repeated_twice_is_decided_in_no_way(tmp_path):
    for seed in range(2):
        train(tmp_path / f"a_{seed}", 1 + seed / 100, 0.9, width=1, seed=seed)
        train(tmp_path / f"b_{seed}", 3 + seed / 100, 0.5, width=2, seed=seed)
    comparison = compare(tmp_path)
    assert comparison.verdicts == []
    assert "Nothing is decided about groups of fewer than 3 runs: a, b." in str(comparison)


def test_a_setting_that_no_run_has_puts_no_runs_together(tmp_path):
    """A misspelt name is the same in all: two configurations would have one mean, named after one run."""
    for i, (width, seed) in enumerate([(4, 0), (4, 1), (8, 0), (8, 1)]):
        train(tmp_path / str(i), 1.0 + i, 0.9, width=width, lr=0.1, seed=seed)
    wrong = compare(tmp_path, by="widht")
    assert [group.n for group in wrong.groups] == [1, 1, 1, 1]
    (problem,) = wrong.problems
    assert problem.startswith("no run has a setting 'widht', so that no runs are put together: give names of their")
    assert "width, lr)" in problem
    for by in ("width,lr", ["width", "lr"], "width"):
        found = compare(tmp_path, by=by)
        assert ([group.n for group in found.groups], found.problems) == ([2, 2], [])
    mixed = compare(tmp_path, by="lr").groups[0]
    assert (mixed.name, mixed.settings, mixed.differs_in) == ("lr=0.1", {"lr": 0.1}, ["width"])


def test_a_group_is_told_by_what_all_its_runs_share(tmp_path):
    """Not by the settings of its first run: widths differ within each."""
    for i, (model, width) in enumerate([("a", 4), ("a", 8), ("b", 4), ("b", 8), ("a", 4), ("b", 4)]):
        train(tmp_path / str(i), 1.0 + i, 0.9, width=width, model=model, seed=i)
    train(tmp_path / "other", 9.0, 0.9, width=4, seed=7)
    train(tmp_path / "another", 9.5, 0.9, width=4, seed=8)
    found = compare(tmp_path, by="model")
    told = {group["name"]: (group["settings"], group["differs_in"]) for group in found.to_plain()["groups"]}
    assert told == {
        "model=a": ({"model": "a"}, ["width"]),
        "model=b": ({"model": "b"}, ["width"]),
        "other": ({"model": None, "width": 4}, []),  # no model is no model that they share
        "another": ({"model": None, "width": 4}, []),
    }
    assert "2 of 8 runs have no setting 'model', so that each of these is a group of its own." in found.caveats
    words = (
        "Runs differ in settings within model=a (width), model=b (width): figures and decisions of these are of runs"
    )
    assert words in " ".join(str(found).split())
    assert words in found.to_latex()
    assert "A group has one configuration as far as records say" in " ".join(str(compare(tmp_path)).split())
    assert {group.name for group in group_runs(found.runs, lambda run: "all")} == {"all"}
    assert group_runs(found.runs, lambda run: "all")[0].settings == {}
    assert compare(tmp_path, by=["width", "depth"]).problems[0].startswith("no run has a setting 'depth'")


def test_what_does_not_show_how_repeats_scatter_has_no_interval():
    """All stopped after five epochs by chance; one seed three times: that spread is not that of repeats."""
    runs = [run(f"a/{i}", seed=i, kwh=1.0 + i / 100, metric=0.9 + i / 100, lr=1) for i in range(3)]
    (plain,) = group_runs(runs)
    assert None not in (plain.energy.low, plain.energy.high, plain.metric.low, plain.metric.high)
    for epochs, is_known in (((5, 5, 5), False), ((5, 5, 6), True), ((5, 5, None), True)):
        stopped = [replace(r, source=replace(r.source, stopped_after=n)) for r, n in zip(runs, epochs, strict=True)]
        (group,) = group_runs(stopped)
        assert (group.energy.low is not None, group.energy.sd) == (is_known, plain.energy.sd)
        assert group.metric == plain.metric
    (same,) = group_runs([replace(r, source=replace(r.source, seed=42)) for r in runs])
    assert (same.metric.low, same.metric.high, same.metric.sd) == (None, None, plain.metric.sd)
    assert (same.energy.low, same.energy.sd) == (None, plain.energy.sd)  # which may have been of different lengths
    assert same.no_energy_interval.startswith("runs share a seed, as far as records say, and nothing tells whether all")


def of_lengths(kwh, seeds, epochs, **more):
    """A group whose runs had so many epochs, of 100 that they were allowed."""
    runs = []
    for i, (e, seed, n) in enumerate(zip(kwh, seeds, epochs, strict=True)):
        one = run(f"a/{i}", seed=seed, kwh=e, metric=0.9 + i / 1000, lr=1, **more)
        course = tuple(Validation((k + 1) * e / n, 0.9) for k in range(n))
        runs.append(replace(one, source=replace(one.source, course=course, stopped_after=n if n < 100 else None)))
    return group_runs(runs)[0]


def test_energies_of_one_seed_and_trainings_of_unlike_length_have_no_interval():
    """Three seeds twice each, which stop after 17, 20 and 26 epochs, whatever the machine does."""
    kwh, seeds = (0.170, 0.1701, 0.200, 0.2001, 0.260, 0.2601), (0, 0, 1, 1, 2, 2)
    stopped = of_lengths(kwh, seeds, (17, 17, 20, 20, 26, 26))
    assert (stopped.energy.low, stopped.energy.high, stopped.has_one_length) == (None, None, False)
    assert stopped.to_plain()["no_energy_interval"].startswith(
        "runs share a seed, as far as records say, and not all had as many epochs"
    )
    capped = of_lengths(kwh, seeds, (17, 17, 20, 20, 100, 100))
    assert capped.energy.low is None
    whole = of_lengths(kwh, seeds, (100,) * 6)
    assert (whole.energy.low is not None, whole.metric.low) == (True, None)
    apart = of_lengths(kwh, range(6), (17, 17, 20, 20, 26, 26))
    assert None not in (apart.energy.low, apart.metric.low)
    assert (apart.no_energy_interval, apart.no_metric_interval) == ("", "")


def test_runs_that_are_unlike_have_no_interval():
    """Of three runs the meters had the GPU alone, of three the CPU, too."""
    runs = [run(f"a/{i}", seed=i, kwh=1.0 + i / 100, metric=0.9 + i / 100, lr=1) for i in range(6)]
    (plain,) = group_runs(runs)
    assert None not in (plain.energy.low, plain.metric.low)
    for more in ({"covers": "gpu, package"}, {"quality": "estimated"}):
        (group,) = group_runs([*runs[:3], *(replace(r, **more) for r in runs[3:])])
        assert (group.energy.low, group.energy.sd, group.metric) == (None, plain.energy.sd, plain.metric)
    boards = [replace(r, source=replace(r.source, sensors=s)) for r, s in zip(runs, "aaabbb", strict=True)]
    assert group_runs(boards)[0].energy.low is None
    (samples,) = group_runs([replace(r, metric_n=n) for r, n in zip(runs, (540,) * 5 + (360,), strict=True)])
    assert (samples.energy, samples.metric.low) == (plain.energy, None)


def test_an_interval_has_no_values_that_the_figure_cannot_have():
    """Of 0.2 and 0.9, and of 1 and 3 kWh: t of one degree of freedom, 12.7, times half of their distance."""
    runs = [run("a/0", seed=0, kwh=1.0, metric=0.2, lr=1), run("a/1", seed=1, kwh=3.0, metric=0.9, lr=1)]
    (group,) = group_runs(runs)
    assert (group.metric.low, group.metric.high) == (0.0, 1.0)
    assert (group.energy.low, group.energy.high) == (0.0, pytest.approx(2 + 12.706, abs=1e-3))
    (raw,) = group_runs([replace(one, mode="min", scale="raw") for one in runs])
    assert (raw.metric.low, raw.metric.high) == pytest.approx((0.55 - 4.447, 0.55 + 4.447), abs=1e-3)
    (rate,) = group_runs([replace(one, mode="min") for one in runs])  # an error rate: of words it may be above 1
    assert (rate.metric.low, rate.metric.high) == (0.0, pytest.approx(0.55 + 4.447, abs=1e-3))
