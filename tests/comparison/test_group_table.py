from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace

import pytest

from lightning_energy import compare
from lightning_energy.comparison.comparison import Comparison
from lightning_energy.comparison.gate import gate
from lightning_energy.comparison.group_table import group_rows, group_sentences, groups_csv, latex
from lightning_energy.comparison.groups import group_runs
from lightning_energy.comparison.subject import Subject
from lightning_energy.comparison.table import markdown, text
from lightning_energy.comparison.to_target import ToTarget
from lightning_energy.comparison.verdicts import judge
from lightning_energy.results.record import NAME
from lightning_energy.results.rows import EpochRow
from lightning_energy.results.write import write_record
from tests.comparison.groups import repeats
from tests.records import put, record


def of(*groups, margin=0.0, baseline=None):
    runs = [replace(run, dominated_by=("a",)) if group.name == "b" else run for group in groups for run in group.runs]
    more = {"verdicts": judge(groups, margin=margin, baseline=baseline), "margin": margin, "baseline": baseline}
    return Comparison(runs, [], [], Subject("accuracy"), None, groups=[*groups], **more)


@pytest.fixture
def comparison():
    small = repeats("small_&_fast", [1.0, 1.1, 1.2], [0.90, 0.91, 0.92])
    large = repeats("large", [2.0, 2.2, 2.1], [0.80, 0.82, 0.81])
    return of(small, large, repeats("single", [3.0], [0.5]))


def test_one_row_per_group(comparison):
    """The half-width of the interval of 1.0, 1.1, 1.2 is 4.303 * 0.1 / root 3 = 0.248 kWh."""
    _, small, large, single = group_rows(comparison)
    assert small == ["small_&_fast", "3", "0.9100 ± 0.0100", "0.8852 to 0.9348", "1100 ± 100", "852 to 1348", "–"]  # noqa: RUF001
    assert large[-1] == "< small_&_fast"
    assert single[1:4] == ["1", "0.5000", "–"]  # noqa: RUF001
    assert group_rows(of(repeats("a", [1.0], [0.5]))) == []


def test_it_stands_above_the_runs(comparison):
    for shown in (text(comparison), markdown(comparison)):
        assert "0.9100 ± 0.0100" in shown
        assert "probability that even one decision is wrong is at most 5 %" in shown
        assert "Nothing is decided about groups of fewer than 3 runs: single." in shown
    assert max(map(len, text(comparison, 120).splitlines())) <= 120


def test_what_is_open_says_how_many_repeats_it_takes():
    a = repeats("a", [1.0, 1.1, 0.9], [0.90, 0.91, 0.89], seeds=[1, 2, 3])
    b = repeats("b", [1.05, 0.95, 1.2], [0.90, 0.88, 0.93], seeds=[4, 5, 6])
    sentences = group_sentences(of(a, b))
    (open_,) = [s for s in sentences if s.startswith("a and b are not told apart: some ")]
    assert "runs of each would probably (0.8) show which is cheaper, and some" in open_
    assert open_.endswith("which is better.")
    (number,) = [s for s in sentences if s.startswith("A number of runs is for a new study of that many, ")]
    assert number.startswith(
        "A number of runs is for a new study of that many, and for the difference and the spread that were seen: if "
        "the true difference is smaller, or none, it will not be shown. The probability is that of each question by "
        "itself."
    )
    assert any("do not all have the same seeds" in s for s in sentences)
    (unknown,) = [
        s for s in group_sentences(of(repeats("a", [1, 2, 3], [0.1, 0.2, 0.3], seeds=[None] * 3))) if "seeds" in s
    ]
    assert unknown.startswith("Some seeds are not known")
    apart = group_sentences(of(a, repeats("b", [9, 9.1, 9.2], [0.1, 0.2, 0.3], sensors="b")))
    assert "a and b are incomparable: they were measured by different sensors, whose gains differ." in apart


NOISE = (1.00, 1.01, 0.99, 1.005, 0.995)
ACCURACIES = (0.900, 0.903, 0.897, 0.901, 0.899)


def five(name, kwh=1.0, accuracy=0.0, **more):
    return repeats(name, [kwh * e for e in NOISE], [a + accuracy for a in ACCURACIES], seeds=[None] * 5, **more)


@pytest.mark.parametrize(
    ("accuracy", "gain"),
    [
        (0.006, "worse by 0.0060, shown to be less than the margin of 0.02"),
        (-0.006, "better by 0.0060"),
        (0.0, "shown not to be worse by the margin of 0.02"),
    ],
)
def test_what_a_margin_takes_for_no_loss_is_told_as_the_loss_it_is(accuracy, gain):
    found = of(five("a"), five("b", 1.5, accuracy), margin=0.02)
    (decision,) = [s for s in group_sentences(found) if s.startswith("a dominates b: 33 % cheaper and ")]
    assert decision == f"a dominates b: 33 % cheaper and {gain} (not paired)."
    words = "cheaper, and better or shown to be worse by less than 0.02, a margin that was given"
    for shown in (text(found, 999), markdown(found), latex(found), found.to_html()):
        assert words in shown
    plain = of(five("a"), five("b", 1.5, -0.05))
    assert all("a margin that was given" not in shown for shown in (text(plain), latex(plain), plain.to_html()))
    assert found.to_plain()["margin"] == 0.02


def test_with_a_margin_the_runs_are_said_that_would_show_no_loss():
    """Equal means with an sd of 0.00224, and a margin of 0.002: (z of 0.83 % + z of 20 %)^2 * 2 * 1.25 = 26, t 28."""
    for groups in ((five("a"), five("b", 1.5)), (five("b", 1.5), five("a"))):
        found = of(*groups, margin=0.002)
        (open_,) = [s for s in group_sentences(found) if s.startswith("a is 33 % cheaper than b; ")]
        assert open_.endswith(
            "; some 28 runs of each would probably (0.8) show that a is not worse by the margin of 0.002."
        )
        assert any(s.startswith("A number of runs is for a new study") for s in group_sentences(found))
        assert found.to_plain()["verdicts"][0]["repeats_for_margin"] == 28
    lost = of(five("a"), five("b", 1.5, 0.0025), margin=0.002)  # seems to be worse by more
    assert "by the margin of" not in " ".join(s for s in group_sentences(lost) if s.startswith("a is 33 %"))


def test_figures_have_no_exponent_and_none_rounds_to_nothing():
    """A model of 300 times the energy, 15 kWh; accuracies that differ by 4 of 100,000 and scatter by less; a target."""
    reached = (ToTarget(0.9, 12.34567, None, 0.0),)
    close = [0.99992 + k * 1e-6 for k in (0, 1, -1, 2, -2)]
    tiny = repeats("a", [0.05 * e for e in NOISE], close)
    large = repeats("b", [15 * e for e in NOISE[::-1]], [c - 4e-5 + 1e-7 * i for i, c in enumerate(close)])
    large = replace(large, runs=tuple(replace(r, targets=reached) for r in large.runs))
    found = replace(of(tiny, large), subject=Subject("accuracy", targets=(0.9,)))
    assert "a dominates b: 99.67 % cheaper and better by 0.000040 (paired by 5 seeds)." in group_sentences(found)
    assert group_rows(found)[1][2:4] == ["0.9999200 ± 0.0000016", "0.9999180 to 0.9999220"]
    written = latex(found)
    assert "12346 (5 of 5)" in written
    assert "of a single run" not in written
    single = replace(found, groups=[tiny, replace(large, runs=large.runs[:1], seeds=large.seeds[:1])])
    assert "of a single run that at which it was first seen to be reached (>: it takes more than that)" in (
        latex(single).replace(r"\textgreater{}", ">")
    )
    for shown in (written, text(found), markdown(found), found.to_html()):
        assert not re.search(r"\de[+-]?\d\d", shown.partition("<script")[0].rpartition("</style>")[2])
    ten_times = repeats("new", [11.3 * e for e in NOISE], ACCURACIES)
    assert gate(five("base"), ten_times, 0.03).reason == "the energy rose by more than 3 %: by 1017 % at least"


def test_each_open_question_has_its_own_number_or_cause():
    def decided(*groups):
        return next(s for s in group_sentences(of(*groups)) if s.startswith(("a and b are", "a is ", "b is ")))

    estimated = decided(five("a", quality="estimated"), five("b", 1.2, -0.002, quality="estimated"))
    assert estimated == (
        "a and b are not told apart: some 26 runs of each would probably (0.8) show which is better; which is cheaper "
        "is not decided: no number of repeats shows it: the uncertainty of the estimates does not average out."
    )
    missing = decided(five("a", slack_kwh=0.04), five("b", 1.03, -0.05))
    assert "energy of some runs is missing, and repeats do not replace it" in missing
    assert decided(five("a"), five("b", 1.000001, -0.05)).endswith(
        "which is cheaper is not decided (not paired): no number of repeats up to 10,000 shows it, with a difference "
        "and a spread of this size."
    )
    assert decided(five("a", quality="estimated"), five("b", 1.2, -0.05, quality="estimated")).endswith(
        "which is cheaper is not decided (not paired): no number of repeats shows it: the uncertainty of the estimates "
        "does not average out."
    )
    partly = (five("a"), five("b", 1.5, -0.05))
    partly = [
        repeats(n, [r.energy_kwh for r in g.runs], [r.metric for r in g.runs], seeds=seeds)
        for n, g, seeds in zip("ab", partly, ((0, 1, 2, 3, 4), (2, 1, 0, 8, 9)), strict=True)
    ]
    words = "of the 3 shared seeds; the other 4 runs count for nothing here"
    found = of(*partly)
    assert found.verdicts[0].kind == "dominated"
    for shown in (text(found), markdown(found), latex(found), found.to_html(), groups_csv(found)):
        assert words in " ".join(shown.split())
    assert [v["basis"] for v in found.to_plain()["verdicts"]] == [words]
    some = "Where only some seeds are shared, decisions, about the metric, too, are of the runs with these seeds alone"
    for shown in (text(found), markdown(found), latex(found), found.to_html()):
        assert some in " ".join(shown.split())


def test_what_has_no_spread_is_told_for_what_it_is():
    """Accuracies that rise by 0.01, in pairs that all differ by 0.01; copies; and one seed five times."""
    rising = (0.90, 0.91, 0.92, 0.93, 0.94)
    pairs = repeats("a", NOISE, rising), repeats("b", [1.5 * e for e in NOISE[::-1]], [a - 0.01 for a in rising])
    assert (
        "a is 33 % cheaper than b; which is better is not decided (paired by 5 seeds): all pairs differ by the same "
        "figure, which shows no spread."
    ) in group_sentences(of(*pairs))
    copies = repeats("a", NOISE, [0.9] * 5), repeats("b", [1.5 * e for e in NOISE[::-1]], [0.8] * 5)
    assert (
        "a is 33 % cheaper than b; which is better is not decided (paired by 5 seeds): all repeats gave the same "
        "figure, which shows no spread: were they trained anew?"
    ) in group_sentences(of(*copies))
    both = group_sentences(of(repeats("a", [1.0] * 3, [0.9] * 3), repeats("b", [2.0] * 3, [0.8] * 3)))
    assert (
        "a and b are not told apart: all repeats gave the same figure, which shows no spread: were they trained anew?"
    ) in both
    seeded = [
        repeats(n, [k * e for e in NOISE], ACCURACIES, seeds=[42] * 5, epochs=9) for n, k in (("a", 1.0), ("b", 1.004))
    ]
    sentences = group_sentences(of(*seeded))
    (open_,) = [s for s in sentences if s.startswith("a and b are not told apart: some ")]
    assert open_.endswith(
        "show which is cheaper; which is better is not decided: a and b have one seed in several runs, as far "
        "as records say, and runs of one seed do not show what another one brings."
    )
    assert sentences[-1] == (
        "Some groups have one seed twice, as far as records say, so that they are not paired, and nothing is decided "
        "about their metric: use another seed for each repeat, by seed_everything before each training or as a "
        "hyperparameter."
    )
    dear = [
        repeats(n, [k * e for e in NOISE], ACCURACIES, seeds=[42] * 5, epochs=9) for n, k in (("a", 1.0), ("b", 1.5))
    ]
    text_ = " ".join(group_sentences(of(*dear)))
    assert (
        "a is 33 % cheaper than b (for these seeds: where the length of a training hangs on them, as with early "
        "stopping, others may differ); which is better is not decided"
    ) in text_
    assert "fixed beforehand; the energies of groups that repeat a seed: for these seeds." in text_
    folds = [
        replace(g, runs=tuple(replace(r, source=replace(r.source, settings={"fold": i})) for i, r in enumerate(g.runs)))
        for g in seeded
    ]
    assert group_sentences(of(*folds))[-1] == sentences[-1]  # whatever else differs


def test_what_does_not_show_how_repeats_scatter_is_told():
    """The spread that was seen stands in the table, and no interval that it does not show."""
    (one,) = group_runs(
        repeats("a", [1.0, 1.01, 1.02], [0.90, 0.91, 0.92], seeds=[42] * 3).runs, {f"a/{i}": "a" for i in range(3)}
    )
    source = replace(one.runs[0].source, stopped_after=5)
    (one,) = group_runs([replace(run, source=source) for run in one.runs], {f"a/{i}": "a" for i in range(3)})
    found = of(one, five("b", 1.5, -0.05))
    row = group_rows(found)[1]
    assert row[2:6] == ["0.9100 ± 0.0100", "–", "1010 ± 10", "–"]  # noqa: RUF001
    words = (
        "the energies of a have none, as all runs stopped early after as many epochs: others may take more or fewer; "
        "the metrics of a have none, as runs share a seed, as far as records say, and runs of one seed do not show "
        "what another one brings"
    )
    for shown in (" ".join(text(found).split()), markdown(found).replace("\\", ""), latex(found).replace("\\", "")):
        assert words in shown


def test_every_format_says_which_energies_have_no_interval():
    """One seed three times, which had 17, 17 and 20 epochs; of b two boards."""
    one, other = five("a"), five("b", 1.5, -0.05)
    lengths = (17, 17, 20, 20, 20)
    runs = [
        replace(r, source=replace(r.source, seed=42, stopped_after=n)) for r, n in zip(one.runs, lengths, strict=True)
    ]
    runs += [replace(r, source=replace(r.source, sensors=s)) for r, s in zip(other.runs, "aaabb", strict=True)]
    names = {r.name: r.name[0] for r in runs}
    found = of(*group_runs(runs, names))
    one, other = found.groups
    assert [row[5] for row in group_rows(found)[1:]] == ["–", "–"]  # noqa: RUF001
    reasons = [one.no_energy_interval, other.no_energy_interval]
    for reason in reasons:
        assert reason
        for shown in (text(found), markdown(found), latex(found), groups_csv(found)):
            assert reason in " ".join(shown.replace("\\", "").split())
    assert [g["no_energy_interval"] for g in found.to_plain()["groups"]] == reasons


def test_a_saving_with_missing_energy_is_told_as_the_test_has_it():
    """Of a 20 % at the mean power are missing: 1.0 to 1.2 kWh beside 1.5."""
    found = of(five("a", slack_kwh=0.2), five("b", 1.5, -0.05))
    saving = "a dominates b: 20 % cheaper (33 % by what is known, without missing energy) and better by 0.0500"
    assert any(s.startswith(saving) for s in group_sentences(found))
    words = (
        "energy of 5 of 10 runs is missing (up to 20 % of theirs, if it was spent at their mean power) and not in them"
    )
    for shown in (" ".join(text(found).split()), markdown(found).replace("\\", ""), latex(found).replace("\\", "")):
        assert words in shown
    unknown = of(five("a", slack_kwh=math.inf), five("b", 1.5, -0.05))
    assert "energy of 5 of 10 runs is missing (an unknown amount) and not in them" in " ".join(text(unknown).split())


def test_which_means_are_compared_is_told(comparison):
    """Savings are of geometric means, tables have arithmetic ones: not where nothing of energies is decided."""
    words = "geometric means of energies"
    for shown in (" ".join(text(comparison).split()), markdown(comparison), latex(comparison), comparison.to_html()):
        assert words in " ".join(shown.split())
    assert not any(words in s for s in group_sentences(of(five("a"), five("b", 1.0, -0.05))))
    size = "Decided is the direction; by how much is what was seen, whose standard error --format json has."
    assert size in group_sentences(of(five("a"), five("b", 1.0, -0.05)))
    assert size not in group_sentences(of(five("a"), five("b", 1.0, 0.0)))


def test_the_level_is_told_with_its_conditions(comparison):
    """Also where all is decided, so that no number of runs is told; and in the caption."""
    conditions = (
        "if repeats are independent (trained in turns: what drifts between configurations counts as their difference), "
        "scatter roughly normally (where some collapse or stop early, or figures come in steps that records do not "
        "tell, it may be many times that, above all with three or four runs), and their number was fixed beforehand"
    )
    for shown in (" ".join(text(comparison).split()), markdown(comparison), latex(comparison)):
        assert conditions in shown.replace("\\", "")


def test_a_margin_is_told_to_have_been_fixed_beforehand():
    groups = five("a"), five("b", 1.5, -0.05)
    for baseline, words in ((None, "their number and the margin"), ("a", "their number, the baseline and the margin")):
        found = of(*groups, margin=0.01, baseline=baseline)
        for shown in (text(found), markdown(found), latex(found), found.to_html()):
            assert f"{words} were fixed beforehand" in " ".join(shown.split())
    assert "the margin were" not in text(of(*groups))


def test_a_baseline_is_named_with_what_was_compared():
    found = of(five("a"), five("b", 1.5, -0.05), five("c", 2.0, -0.06), baseline="a")
    for shown in (" ".join(text(found).split()), markdown(found), latex(found), found.to_html()):
        assert "baseline" in shown
        assert "against a alone" in shown or 'compared with <bdi dir="auto">a</bdi> alone' in shown
    assert any(
        s.startswith("Decided by 8 one-sided tests, of each group against a alone;") for s in group_sentences(found)
    )
    assert "their number and the baseline were fixed beforehand" in " ".join(text(found).split())
    assert not any("b and c" in s or "b dominates c" in s for s in group_sentences(found))
    assert found.to_plain()["baseline"] == "a"
    few = of(repeats("a", [1, 1.1], [0.9, 0.8]), five("b", 1.5, -0.05), five("c", 2.0, -0.06), baseline="a")
    assert "The baseline is one of these, so that nothing is decided at all." in group_sentences(few)


def test_tables_say_what_is_not_in_their_intervals():
    a, b = five("a"), five("b", 1.5, -0.05)
    for shown in (" ".join(text(of(a, b)).split()), latex(of(a, b)).replace("\\", "")):
        assert "the gain of the meters (50 %, k=1) is not in them" in shown
    modelled = of(five("a", quality="estimated"), five("b", 1.5, quality="estimated"))
    for shown in (" ".join(text(modelled).split()), latex(modelled).replace("\\", "")):
        assert "energies are a model's, with a standard uncertainty of 50 %" in shown
    one_of_five = replace(a, runs=(*a.runs[:4], replace(a.runs[4], quality="estimated")))
    assert "energies of 1 of 10 runs are a model's, with a" in latex(of(one_of_five, b))
    cut = replace(a.runs[0], outcome="interrupted")
    failed = replace(b, left_out=((cut, "it was interrupted"), (a.runs[1], "it is the same run as b/1, copied")))
    for shown in (" ".join(text(of(a, failed)).split()), latex(of(a, failed))):
        assert "a configuration that often fails looks better than it is" in shown
    lost = replace(failed, name="lost", runs=(), energy=None, metric=None)
    assert "No run of lost is in the table." in latex(of(a, failed, lost))
    assert "No run of" not in latex(of(a, failed))
    copied = replace(b, left_out=((a.runs[1], "it is the same run as b/1, resumed or copied"),))
    assert "often fails" not in latex(of(a, copied)) + text(of(a, copied))


def test_latex_is_a_table_of_booktabs(comparison):
    table = latex(comparison)
    assert table.startswith("% \\usepackage{booktabs}\n\\begin{table}\n")
    assert (
        r"small\_\&\_fast & 3 & 0.9100 $\pm$ 0.0100 & 0.8852 to 0.9348 & 1100 $\pm$ 100 & 852 to 1348 & -- \\" in table
    )
    assert r"\textless{} small\_\&\_fast" in table
    assert r"95 \% interval" in table
    assert table.count("{") == table.count("}")
    assert table == comparison.to_latex()


def test_energies_to_targets_are_in_csv_and_latex(tmp_path):
    """Of three runs two reach 0.8, after 1 and after 2 kWh; of the others none."""
    for name, ends in (("one", ((0.8, 1.0), (0.8, 2.0), (0.7, 3.0))), ("other", ((0.5, 4.0), (0.5, 5.0), (0.5, 6.0)))):
        for seed, (accuracy, kwh) in enumerate(ends):
            what = {"hyperparameters": {"model": name, "seed": seed}}
            more = {"epochs": (accuracy,), "epochs_kwh": (kwh,), "run_id": f"{name}{seed}"}
            put(tmp_path / name / str(seed), kwh, accuracy, what=what, **more)
    found = compare(tmp_path, target=(0.8, 0.6))
    rows = {row["group"]: row for row in csv.DictReader(io.StringIO(groups_csv(found)))}
    one, other = rows["one"], rows["other"]
    names = ("median_kwh", "low_kwh", "high_kwh", "reached", "of")
    assert [one[f"to_0.8_{name}"] for name in names] == ["2.0", "1.0", "", "2", "3"]
    assert float(one["to_0.8_per_success_kwh"]) == 3.0
    assert [other[f"to_0.8_{name}"] for name in ("median_kwh", "over_kwh", "reached")] == ["", "5.0", "0"]
    assert one["to_0.6_median_kwh"] == "2.0"
    table = latex(found)
    assert "Wh to 0.8" in table
    assert "Wh to 0.6" in table
    (row,) = [line for line in table.splitlines() if line.startswith("one &")]
    assert row.endswith(r"& 2000 (1000 or more, 2 of 3) & 2000 (1000 to 3000, 3 of 3) & -- \\")
    (row,) = [line for line in table.splitlines() if line.startswith("other &")]
    assert r"& $\geq$ 5000 (0 of 3) &" in row
    assert "by which half of the runs had reached it" in table
    assert "lrrrrrrrl" in table


@pytest.fixture
def failing(tmp_path):
    """Of eight runs three reach 0.9, two diverge, one crashes before a validation, one runs, and one has no epochs."""
    rows = [EpochRow(epoch=0, metric=0.5, total_kwh=0.5, val_s=1.0), EpochRow(epoch=1, val_s=1.0, no_metric="is nan")]
    ends = [record(kwh, 0.91, epochs=(0.5, 0.91), epochs_kwh=(0.5, kwh), **of_failing(i)) for i, kwh in
            enumerate((1.00, 1.01, 1.02))]  # fmt: skip
    ends += [replace(record(1.03, 0.5, **of_failing(i)), epochs=rows) for i in (3, 4)]
    ends.append(record(0.2, None, outcome="interrupted", **of_failing(5)))
    ends.append(record(0.6, 0.6, epochs=(0.6,), epochs_kwh=(0.4,), outcome="running", **of_failing(6)))
    ends.append(record(1.0, 0.9, **of_failing(7)))
    for i, end in enumerate(ends):
        (tmp_path / str(i)).mkdir()
        write_record(tmp_path / str(i) / NAME, end)
    return compare(tmp_path, target=0.9)


def of_failing(seed):
    return {"what": {"hyperparameters": {"model": "a"}}, "seed": seed, "run_id": f"run{seed}"}


def test_the_page_has_the_level_of_its_decisions_and_their_conditions():
    judged = replace(of(five("a"), five("b", 1.5, -0.05)), level=0.3)
    shown = " ".join(judged.to_html().split())
    assert "all such decisions together at the level 0.3 (Holm), if repeats are independent" in shown
    assert "by the repeats of both, at the level 0.3 for all decisions together, if repeats are independent" in shown
    assert "and their number was fixed beforehand." in shown


def test_runs_that_diverged_or_crashed_did_not_reach_the_target(failing):
    """Three successes took 3.03 kWh, and two failures 0.5 each until their last validation: 1.3433 each."""
    (row,) = csv.DictReader(io.StringIO(groups_csv(failing)))
    assert [row[f"to_0.9_{name}"] for name in ("reached", "of", "unknown", "median_kwh")] == ["3", "6", "2", "1.02"]
    assert float(row["to_0.9_per_success_kwh"]) == pytest.approx(4.03 / 3)
    shown = " ".join(str(failing).split())
    assert "1.02 (1 or more, 3 of 6, 2 unknown)" in shown
    assert "1 of 8 records have no epoch with a value" in shown
    assert "by which half of the runs had reached it" in shown
    assert "1020 Wh (1000 Wh or more, 3 of 6, 2 unknown)" in failing.to_html()


def test_csv_has_unrounded_figures(comparison):
    rows = {row["group"]: row for row in csv.DictReader(io.StringIO(groups_csv(comparison)))}
    assert float(rows["large"]["energy_kwh_mean"]) == pytest.approx(2.1)
    assert rows["large"]["dominated_by"] == "small_&_fast"
    assert rows["single"]["metric_sd"] == ""
    assert rows["large"]["seeds"] == "0; 1; 2"
