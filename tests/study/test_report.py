"""Reports of studies whose manifests and records are made by hand."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lightning_energy.commands import main as cli
from lightning_energy.meters.base import Condition
from lightning_energy.results.figures import Device
from lightning_energy.results.record import NAME
from lightning_energy.results.rows import Evaluation
from lightning_energy.results.write import write_record
from lightning_energy.study import Manifest, StudyError, report
from lightning_energy.study.manifest import Attempt, Idle, read_manifest
from lightning_energy.study.plan import in_order
from tests.commands.calls import HEAVY, call
from tests.records import energy, put, record

CONFIGS = {"small": {"width": 8}, "wide": {"width": 64}}
SEEDS = [0, 1, 2]


def made(folder: Path, configs=CONFIGS, failed=("wide", 2), **changes) -> Manifest:
    """A study in which one run failed and left half of its record."""
    plan = tuple(in_order([*configs], SEEDS, "randomized blocks", 0))
    manifest = Manifest("train.py:train", configs, SEEDS, "randomized blocks", 0, plan, 1, None, "", 1e9)
    for n, (config, seed) in enumerate(plan):
        name = f"runs/{config}/seed-{seed}"
        is_failed = (config, seed) == failed
        kwh, accuracy = {"small": (1.0, 0.8), "wide": (2.0, 0.9)}.get(config, (3.0, 0.85))
        put(folder / name, kwh + seed / 100, accuracy + seed / 1000, run_id=f"{n}", seed=seed)
        manifest = manifest.with_attempt(
            Attempt(
                "run",
                config,
                seed,
                name,
                "failed" if is_failed else "done",
                1e9 + n,
                1e9 + n + 1,
                why="ValueError: x" if is_failed else "",
                record=f"{name}/{NAME}",
            )
        )
    manifest = replace(manifest, **changes)
    manifest.write(folder)
    return manifest


def test_a_report_has_what_is_compared_what_failed_and_what_was_spent_apart(tmp_path, capsys):
    made(tmp_path)
    put(tmp_path / "runs/small/seed-0/tuning/trial", 0.5)
    found = report(tmp_path)
    assert [run.energy_kwh for run in found.comparison.runs] == [1.0, 1.01, 1.02, 2.0, 2.01]
    assert found.failed == ("wide, seed 2: failed: ValueError: x",)
    assert {use: (s.n, s.energy_kwh) for use, s in found.spent.items()} == {
        "runs": (5, pytest.approx(7.04)), "failed": (1, pytest.approx(2.02)), "tuning": (1, 0.5)
    }  # fmt: skip
    answers = {item.name: (item.answer, item.text) for item in found.checklist}
    before = "set before the function was called; what it sets itself, other than by Lightning, no record has"
    assert answers["seeds"] == ("known", f"0, 1, 2 in 5 of 5 runs, {before}")
    assert answers["order of the runs"] == ("known", "randomized blocks, seed 0")
    assert answers["validation and test samples"] == ("unknown", "not in the records")
    assert answers["idle power"][0] == "unknown"
    assert answers["meters and calibration"] == (
        "partly", "NVIDIA A100; standard uncertainty of the gain: 5 %; no meter was calibrated against another"
    )  # fmt: skip
    assert answers["not covered"][1].startswith("the CPU; memory; losses of power supplies")
    assert cli.main(["study", "report", str(tmp_path), "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert "wide, seed 2: failed: ValueError: x" in out
    assert "[?] not covered" in out
    assert {
        "report.txt",
        "report.md",
        "report.json",
        "comparison.csv",
        "comparison.tex",
        "comparison.html",
        "comparison.png",
    } <= {p.name for p in (tmp_path / "report").iterdir()}
    assert json.loads((tmp_path / "report/report.json").read_text())["spent"]["tuning"]["n"] == 1
    lost = "Runs of the study that failed, were cut off or still run, and are in no figure here: wide 1."
    for name in ("report.txt", "report.md", "comparison.tex", "comparison.html"):
        assert lost in " ".join((tmp_path / "report" / name).read_text().split())
    assert answers["versions"] == ("unknown", "driver 550.54")


def test_runs_of_a_configuration_are_a_group_whatever_their_records_say(tmp_path):
    made(tmp_path)
    groups = {group.name: group.n for group in report(tmp_path).comparison.groups}
    assert groups == {"small": 3, "wide": 2}


def test_a_run_beside_the_study_is_no_repeat_of_a_configuration_with_its_name(tmp_path):
    made(tmp_path / "study", failed=None)
    put(tmp_path / "old/small", 9.0, 0.5, run_id="loose", seed=7)
    put(tmp_path / "small", 9.0, 0.5, run_id="looser", seed=8)
    groups = {group.name: group for group in report(tmp_path).comparison.groups}
    assert (groups["small"].n, groups["small"].energy.mean) == (3, pytest.approx(1.01))
    assert sorted(n for n, group in groups.items() if group.n == 1) == ["old/small", "small (beside the study)"]


def test_decisions_before_the_end_of_the_plan_are_told_as_a_look(tmp_path):
    """Of eight runs two are not begun: whoever adds them judges a second time."""
    manifest = made(tmp_path, failed=None)
    assert report(tmp_path).comparison.apart == ()
    replace(manifest, seeds=[*SEEDS, 3], plan=(*manifest.plan, ("small", 3), ("wide", 3))).write(tmp_path)
    found = report(tmp_path)
    words = "2 of 8 runs of the plan are not done yet: decisions before its end are a look, and the others at its end"
    assert words in found.comparison.apart[0]
    assert words in found.comparison.to_latex()
    assert words in found.comparison.caveats[0]


def test_a_report_takes_the_margin_the_level_and_targets(tmp_path, capsys):
    made(tmp_path, failed=None)
    options = ("--margin", "0.05", "--level", "0.1", "--target", "0.85", "--target", "0.95", "--baseline", "small")
    assert cli.main(["study", "report", str(tmp_path), *options]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "worse by less than 0.05, a margin that was given" in out
    assert "against small alone" in " ".join(out.split())
    assert "even one decision is wrong is at most 10 %" in out
    assert "kWh to 0.85" in out
    assert "kWh to 0.95" in out
    for wrong in (("--level", "1"), ("--margin", "-1"), ("--target", "inf")):
        with pytest.raises(SystemExit):
            cli.main(["study", "report", str(tmp_path), *wrong])


def test_parts_of_several_machines_are_one_report(tmp_path):
    made(tmp_path / "1", {"small": CONFIGS["small"]}, part="1/2")
    made(tmp_path / "2", {"wide": CONFIGS["wide"]}, part="2/2")
    found = report(tmp_path)
    assert len(found.comparison.runs) == 5
    assert next(i for i in found.checklist if i.name == "order of the runs").answer == "partly"
    made(tmp_path / "3")
    with pytest.raises(StudyError, match="both have the configuration 'small': report them apart"):
        report([tmp_path / "1", tmp_path / "3"])


@pytest.mark.parametrize(
    ("runs", "trials", "words"),
    [
        ((1.0, 1.0), (1.0, 1.0), "all together: 4 with 4 kWh, of which the search is 50 %"),
        ((1.0, 2.0), (1.0, None), ", of which the search is at least 25 %, as not all that it spent is known"),
        ((2.0, None), (1.0, 1.0), ", of which the search is 50 % as far as energies are known"),
        ((2.0, None), (1.0, None), ", of which the search is 33 % as far as energies are known"),
        ((1.0, 1.0), (None, None), "; the share of the search is not known"),
    ],
)
def test_the_share_of_a_search_is_of_what_is_known(tmp_path, runs, trials, words):
    for folder, energies in (("mine", runs), ("sweep", trials)):
        for i, kwh in enumerate(energies):
            put(tmp_path / folder / str(i), kwh, run_id=f"{folder} {i}")
    lines = report(tmp_path / "mine", tuning=tmp_path / "sweep").below(markdown=True)
    (line,) = [line for line in lines if "all together" in line]
    assert line.endswith(words)


def test_a_sweep_and_a_hand_made_folder_are_reported_the_same_way(tmp_path, capsys):
    for name in ("a", "b"):
        put(tmp_path / "mine" / name, 1.0, run_id=name)
    put(tmp_path / "sweep" / "trial_0", 0.25, run_id="trial 0")
    write_record(tmp_path / "sweep" / "trial_1" / NAME, replace(record(0.5), run_id="trial 1", outcome="interrupted"))
    (tmp_path / "mine" / "a" / "study.json").write_text('{"by": "another program"}')
    found = report(tmp_path / "mine", tuning=tmp_path / "sweep")
    assert (found.spent["runs"].n, found.spent["tuning"].energy_kwh) == (2, 0.75)
    assert (found.spent["runs"].interrupted, found.spent["tuning"].interrupted) == (0, 1)
    assert "search for hyperparameters: 2 with 0.75 kWh; 1 of them interrupted" in str(found)
    assert "all together: 4 with 2.75 kWh, of which the search is 27 %" in str(found)
    answers = {item.name: item.answer for item in found.checklist}
    assert (answers["order of the runs"], answers["seeds"], answers["versions"]) == ("unknown",) * 3
    assert cli.main(["study", "report", str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_what_is_known_of_the_boards_is_told(tmp_path):
    condition = Condition(350.0, 41.0, 345.0, 1980.0, 2619.0)
    for seed in SEEDS:
        device = Device("NVIDIA H100", "GPU-1", "gpu", energy(1.0), 0.1, "calibrated: gain 1.04, offset 0 W")
        made_ = record(1.0, seed=seed, run_id=str(seed), devices=[replace(device, condition=condition)], n_val=540)
        write_record(tmp_path / str(seed) / NAME, made_)
    answers = {item.name: item for item in report(tmp_path).checklist}
    assert answers["power limit and clocks"].text == "limit 350 W; highest clock 1980 MHz"
    assert answers["temperature at the start"].text == "41 to 41 °C on the boards"
    assert answers["meters and calibration"].answer == "known"
    assert answers["validation and test samples"].text == "validation: 540; test: unknown, or there was none"


WRONG = {
    "not JSON": (lambda d: None, "cannot be read as the manifest of a study"),
    "another format": (lambda d: d | {"format": "x"}, "is another program's: give the folder of a study"),
    "a later version": (lambda d: d | {"manifest_version": 2}, "is of a newer version (2): upgrade lightning-energy"),
    "a seed": (lambda d: d | {"seeds": ["one"]}, "seeds[0]='one' is not a whole number from 0 on"),
    "another seed": (lambda d: d | {"seeds": [0, 1]}, "is not one of the seeds"),
    "a plan": (lambda d: d | {"plan": [["small"]]}, "plan[0]=['small'] is not a configuration and a seed"),
    "a configuration": (lambda d: d | {"configs": {"../x": {}}}, "a name of configs='../x' is not one that a folder"),
    "a state": (lambda d: d | {"attempts": [d["attempts"][0] | {"state": "good"}]}, "attempts[0].state='good' is not"),
    "a place": (
        lambda d: d | {"attempts": [d["attempts"][0] | {"folder": "../../etc"}]},
        "attempts[0].folder='../../etc' is not a path within the folder of the study",
    ),
    "the same attempt twice": (lambda d: d | {"attempts": d["attempts"][:1] * 2}, "attempts[1].folder="),
    "two runs of one seed": (
        lambda d: d | {"attempts": [d["attempts"][0], d["attempts"][0] | {"folder": "x", "record": "x/energy.json"}]},
        "is not the only attempt of its run that is done",
    ),
    "a record elsewhere": (
        lambda d: d | {"attempts": [d["attempts"][0] | {"record": "elsewhere/energy.json"}]},
        "attempts[0].record='elsewhere/energy.json' is not below the folder of its run",
    ),
    "a plan with a run twice": (lambda d: d | {"plan": d["plan"] * 2}, "is not each configuration with each seed"),
    "a part": (lambda d: d | {"part": "7/2"}, "part='7/2' is not a part such as 1/4"),
    "no plan": (lambda d: d | {"plan": []}, "plan=[] is not each configuration with each seed"),
    "a seed twice": (lambda d: d | {"seeds": [0, 1, 2, 2]}, "seeds=[0, 1, 2, 2] is not a list of different seeds"),
    "done without a record": (
        lambda d: d | {"attempts": [d["attempts"][0] | {"record": ""}]},
        "attempts[0].record='' is not there, and its run",
    ),
    "a list": (lambda d: [d], "is another program's"),
    "nothing": (lambda d: {}, "is another program's"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", ["report", "run"])
def test_a_manifest_that_was_edited_gives_a_line_and_exit_code_2(tmp_path, capsys, name, command):
    made(tmp_path / "s")
    file = tmp_path / "s" / "study.json"
    change, problem = WRONG[name]
    edited = change(json.loads(file.read_text()))
    file.write_text("{" if edited is None else json.dumps(edited))
    before = file.read_text()
    (tmp_path / "configs.json").write_text(json.dumps(CONFIGS))
    more = ["tests.study.trainings:train", "--configs", str(tmp_path / "configs.json"), "--out", str(tmp_path / "s")]
    assert cli.main(["study", command, *(more if command == "run" else [str(tmp_path / "s")])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lightning-energy study {command}: {file} ")
    assert problem in line
    assert file.read_text() == before


def test_a_function_that_seeds_by_itself_is_told(tmp_path):
    """The plan says 0, 1 and 2; the function calls seed_everything(42)."""
    manifest = made(tmp_path, failed=None)
    for attempt in manifest.attempts:
        put(tmp_path / attempt.folder, 1.0, run_id=attempt.folder, seed=42)
    (item,) = (i for i in report(tmp_path).checklist if i.name == "seeds")
    assert item.answer == "unknown"
    assert item.text == (
        "42 in 6 of 6 runs; the plan says 0, 1, 2: 6 runs have another seed than it, as the function seeds by itself, "
        "so that repeats may be one training copied"
    )


def test_the_seed_of_a_split_is_not_taken_for_that_of_the_training(tmp_path):
    """A DataModule(seed=42) in each run, in records with the seed of the training and in those of earlier releases."""
    manifest = made(tmp_path, failed=None)
    split = {"hyperparameters": {"seed": 42}}
    for attempt in manifest.attempts:
        known = {"global_seed": attempt.seed} if attempt.config == "small" else {}
        metric = 0.8 + attempt.seed / 100
        put(tmp_path / attempt.folder, 1.0, metric, run_id=attempt.folder, seed=42, what=split, **known)
    (item,) = (i for i in report(tmp_path).checklist if i.name == "seeds")
    assert item.text.startswith("0, 1, 2, 42 in 6 of 6 runs, set before the function was called")


def test_repeats_with_one_metric_may_be_one_training(tmp_path):
    """A function that calls torch.manual_seed(0): the records have the seeds of the plan all the same."""
    manifest = made(tmp_path, failed=None)
    for attempt in manifest.attempts:
        if attempt.config == "small":
            put(tmp_path / attempt.folder, 1.0 + attempt.seed / 100, 0.8, run_id=attempt.folder, seed=attempt.seed)
    (item,) = (i for i in report(tmp_path).checklist if i.name == "seeds")
    assert item.answer == "partly"
    assert item.text.endswith("; all runs of small have one metric: were they trained anew with these seeds?")


@pytest.mark.parametrize("paths", [None, [None], 5, [3.5]])
def test_what_is_no_path_is_told(paths):
    with pytest.raises(StudyError, match="give folders of studies, or records"):
        report(paths)


def test_what_is_given_twice_is_spent_once(tmp_path):
    made(tmp_path / "s", failed=None)
    for paths in ([tmp_path / "s", tmp_path / "s/runs"], [tmp_path / "s/runs", tmp_path / "s"], [tmp_path / "s"] * 2):
        found = report(paths)
        assert found.spent["runs"].n == len(found.comparison.runs) == 6


def test_the_report_has_the_options_that_it_advises(tmp_path, capsys):
    made(tmp_path)
    options = ["--reference-kwh", "2", "--group-by", "none"]
    assert cli.main(["study", "report", str(tmp_path), *options]) == 0
    out = capsys.readouterr().out
    assert "reference_kwh=2" in out
    assert "95 % interval" not in out  # no groups


def test_a_single_seed_can_be_given(tmp_path, capsys):
    (tmp_path / "c.json").write_text('{"a": {}}')
    more = ["--configs", str(tmp_path / "c.json"), "--out", str(tmp_path / "s"), "--warmup", "0", "--idle-s", "0"]
    assert cli.main(["study", "run", "nowhere:f", "--seeds", "7,", *more]) == 1
    assert read_manifest(tmp_path / "s").seeds == [7]


def test_a_name_that_a_file_has_twice_is_refused(tmp_path, capsys):
    for name, text in (("c.json", '{"a": {"w": 1}, "a": {"w": 2}}'), ("c.yaml", "a: {w: 1}\na: {w: 2}\n")):
        (tmp_path / name).write_text(text)
        assert (
            cli.main(["study", "run", "x.py:f", "--configs", str(tmp_path / name), "--out", str(tmp_path / "s")]) == 2
        )
        assert "'a' stands there twice" in capsys.readouterr().err
    (tmp_path / "c.json").write_bytes(b"\xef\xbb\xbf{}")  # as editors of Windows begin a file
    assert (
        cli.main(["study", "run", "x.py:f", "--configs", str(tmp_path / "c.json"), "--out", str(tmp_path / "s")]) == 2
    )
    assert "give configurations by name" in capsys.readouterr().err


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    manifest = made(tmp_path, idle=(Idle("GPU-1", "NVIDIA H100", 71.5, 10.0),), cooldown_s=30.0)
    assert asdict(read_manifest(tmp_path)) == asdict(manifest)
    assert "NVIDIA H100 71.5 W" in next(i.text for i in report(tmp_path).checklist if i.name == "idle power")


def test_a_run_in_two_records_of_a_hand_made_folder_is_spent_once(tmp_path):
    """What a crash had left of a run that went on, a copy of its end, and of a search one trial twice."""
    put(tmp_path / "cut", 1.0, outcome="interrupted", run_id="one", spent={"missing_s": 60.0})
    put(tmp_path / "end", 2.5, run_id="one", spent={"missing_s": 90.0})
    put(tmp_path / "copy" / "end", 2.5, run_id="one", spent={"missing_s": 90.0})
    put(tmp_path / "other", 4.0, run_id="two")
    put(tmp_path / "unnamed", 8.0)
    for name in ("a", "b"):
        put(tmp_path / "tuning" / name, 16.0, run_id="trial")
    found = report(tmp_path)
    assert len(found.comparison.runs) == 5
    assert {use: (s.n, s.energy_kwh, s.missing_s) for use, s in found.spent.items()} == {
        "tuning": (1, 16.0, 0.0),
        "runs": (3, 14.5, 90.0),
    }
    assert next(i.text for i in found.checklist if i.name == "seeds") == "not in the records"
    assert "of 3.00 h" in next(i.text for i in found.checklist if i.name == "time without a measurement")
    given = [tmp_path / name for name in ("end", "copy", "unnamed", "unnamed")]
    twice = report(given, tuning=[tmp_path / "tuning"])
    assert {use: s.energy_kwh for use, s in twice.spent.items()} == {"tuning": 16.0, "runs": 10.5}


def test_tests_after_the_training_are_spent_too(tmp_path):
    """A run of 1 kWh whose test took 0.25, and a test alone of 0.5 among the records of a search."""
    tested = [Evaluation(0.0, "completed", {"test": energy(kwh)}) for kwh in (0.25, 0.5)]
    for name, made_ in (
        ("a", replace(record(1.0, run_id="a"), evaluations=tested[:1])),
        ("b", record(2.0, run_id="b")),
        ("tuning/a", replace(record(0.5, total=None), evaluations=tested[1:])),
    ):
        write_record(tmp_path / name / NAME, made_)
    found = report(tmp_path)
    assert {use: (s.n, s.energy_kwh, s.evaluated_kwh) for use, s in found.spent.items()} == {
        "runs": (2, 3.25, 0.25),
        "tuning": (1, 0.5, 0.5),
    }
    assert "runs that are done: 2 with 3.25 kWh, of it 0.25 kWh in tests and the like outside of trainings" in str(
        found
    )


def test_a_run_that_went_on_in_another_attempt_is_spent_once(tmp_path):
    """The energy of what was cut off is in that which went on; two records of one that failed are one run."""
    manifest = made(tmp_path)
    first, again, failed = (
        tmp_path / "runs" / name for name in ("small/seed-0", "small/seed-0.attempt-2", "wide/seed-2")
    )
    put(first, 0.75, run_id="went on", outcome="interrupted", seed=0)
    put(again, 1.5, run_id="went on", seed=0)
    put(again / "tuning" / "trial", 0.25, run_id="trial")
    put(again / "tuning" / "trial later", 0.5, run_id="trial")
    (failed / NAME).unlink()
    put(failed / "begun", 1.0, run_id="anew", seed=2)
    put(failed / "end", 2.0, run_id="anew", seed=2)
    for folder, state in ((first, "broken"), (again, "done")):
        place = folder.relative_to(tmp_path)
        attempt = Attempt("run", "small", 0, f"{place}", state, 1e9, 1e9 + 1, record=f"{place}/{NAME}")
        manifest = manifest.with_attempt(attempt)
    manifest.write(tmp_path)
    found = report(tmp_path)
    assert {use: (s.n, s.energy_kwh) for use, s in found.spent.items()} == {
        "runs": (5, pytest.approx(1.5 + 1.01 + 1.02 + 2.0 + 2.01)), "failed": (1, 2.0), "tuning": (1, 0.5)
    }  # fmt: skip
    assert "small, seed 0: cut off" in found.failed


@pytest.mark.parametrize(
    ("qualities", "unknown", "known"),
    [
        (("measured", "integrated"), "the energies include what the devices take when idle", "the energies include it"),
        (("estimated",), "the energies are estimates without idle power", "the energies are estimates without it"),
        (
            ("measured", "estimated"),
            "the measured energies include what the devices take when idle, the estimated ones do not",
            "the measured energies include it, the estimated ones do not",
        ),
    ],
)
def test_whether_energies_include_idle_power_hangs_on_their_quality(tmp_path, qualities, unknown, known):
    spent = [energy(1.0, quality=quality) for quality in qualities]
    devices = [Device(f"d{i}", f"{i}", "gpu", e, 0.1) for i, e in enumerate(spent)]
    made(tmp_path / "study", idle=(Idle("GPU-1", "NVIDIA H100", 71.5, 10.0),))
    for run in (tmp_path / "study" / "runs").rglob(NAME):
        write_record(run, record(1.0, devices=devices))
    put(tmp_path / "own", 1.0, devices=devices)
    texts = [next(i.text for i in report(tmp_path / f).checklist if i.name == "idle power") for f in ("own", "study")]
    assert texts == [f"not measured; {unknown}", f"NVIDIA H100 71.5 W in 10.00 s; {known}"]


def test_estimated_time_is_time_without_a_measurement(tmp_path):
    answers = []
    for name, qualities in (("both", ("measured", "estimated")), ("none", ("estimated", "estimated"))):
        for i, quality in enumerate(qualities):
            put(tmp_path / name / f"{i}", 1.0, run_id=f"{name}{i}", spent={"quality": quality})
        item = next(i for i in report(tmp_path / name).checklist if i.name == "time without a measurement")
        answers.append((item.answer, item.text))
    assert answers == [
        ("partly", "none; of 1 of 2 runs the energies are a model's"),
        ("unknown", "all of it: the energies are a model's"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2]", "holds no configurations: give a mapping"),
        ("{", "cannot be read as configurations: "),
        (None, "No such file"),
        ('{"a b": {}}', "'a b' cannot be the name of a folder"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_configurations_that_cannot_be_read(tmp_path, capsys, text, problem, suffix):
    file = tmp_path / f"configs.{suffix}"
    if text is not None:
        file.write_text(text)
    arguments = ["tests.study.trainings:train", "--configs", str(file), "--out", str(tmp_path / "s")]
    assert cli.main(["study", "run", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match("lightning-energy study run: ", line)
    assert problem in line


def test_records_of_before_are_reported(capsys):
    """Of version 1, which knows neither seeds nor numbers of samples."""
    v1 = Path(__file__).parents[1] / "data" / "v1"
    found = report(v1)
    answers = {item.name: item.answer for item in found.checklist}
    assert (answers["seeds"], answers["validation and test samples"]) == ("unknown", "unknown")
    assert {group.n for group in found.comparison.groups} <= {0, 1, 2, 3}
    assert "Checklist" in str(found)


def test_the_command_loads_no_torch(tmp_path):
    made(tmp_path)
    done = call("study", "report", tmp_path)
    assert (done.code, done.loaded & HEAVY) == (0, set())
    assert max(map(len, done.out.splitlines())) <= 121
