from __future__ import annotations

import json
import math
import os
import re
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from lightning_energy import EnergyMonitor, MeterUnavailable, ReplayMeter, compare, load_record
from lightning_energy.commands import main as cli
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.rapl import RaplSource
from lightning_energy.results.brief import in_brief
from lightning_energy.scores.metric import Metric
from lightning_energy.training import recorder
from lightning_energy.training.later import Later
from tests.modules import Classifier, loader
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.warm import assert_ended

pytestmark = pytest.mark.slow

UUID = "GPU-ffffffff-0000-0000-0000-000000000000"


def samplers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "lightning-energy-sampler"]


def monitor(**kwargs) -> EnergyMonitor:
    meter = ReplayMeter(200.0, counter_period_s=0.02)
    return EnergyMonitor(**({"meters": meter, "print_report": False, "record": False} | kwargs))


def busy(seconds: float) -> None:
    end = threading.Event()
    threading.Timer(seconds, end.set).start()
    end.wait()


def test_stages_and_steps_and_gaps():
    inner_s = outer_s = 0.0  # of the steps with what follows each: from within the marks, and around them
    with monitor() as m:
        for epoch in range(2):
            with m.stage("train", epoch):
                outer_s -= time.monotonic()
                for step in range(5):
                    with m.step():
                        inner_s -= time.monotonic() if step == 0 else 0.0
                        busy(0.02)
                inner_s += time.monotonic()
                with m.stage("validate", epoch):
                    outer_s += time.monotonic()
                    busy(0.05)
            assert m.energy(stage="train", epoch=epoch).duration_s >= 0.1
    report = m.report
    assert report.outcome == "completed"
    assert set(report.stages) == {"train", "validate"}
    assert report.steps == 10
    u_j = 3 * report.stages["train"].u_j
    assert 200.0 * inner_s - u_j <= 10 * report.step_j <= 200.0 * outer_s + u_j
    assert report.session.energy_j == pytest.approx(sum(e.energy_j for e in report.stages.values()), rel=1e-9)
    assert report.session.energy_j == pytest.approx(200.0 * report.session.duration_s, abs=3 * report.session.u_j)
    assert report.stages["validate"].duration_s >= 0.1
    assert not samplers()


def test_against_the_truth_of_a_simulated_board():
    gpu = SimulatedGpu([(0.13, 350.0), (0.07, 80.0)], uuid=UUID, counter_period_s=0.02)
    outer_ns = [gpu.clock()]
    with SimulatedNvml([gpu]), monitor(meters=NvmlMeter(UUID)) as m:
        inner_ns = [gpu.clock()]
        busy(2.0)
        inner_ns.append(gpu.clock())
    outer_ns.append(gpu.clock())
    told = m.report.session
    assert told.missing_s == 0
    least_j, most_j = gpu.true_energy_j(*inner_ns) - 3 * told.u_j, gpu.true_energy_j(*outer_ns) + 3 * told.u_j
    assert least_j <= told.energy_j <= most_j
    assert told.u_j < 0.05 * told.energy_j


def test_with_fabric():
    fabric = Fabric(accelerator="cpu", devices=1)
    model = Classifier()
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with monitor(fabric=fabric) as m, m.stage("train", 0):
        for x, y in fabric.setup_dataloaders(loader()):
            with m.step():
                optimizer.zero_grad()
                fabric.backward(torch.nn.functional.cross_entropy(model.layer(x), y))
                optimizer.step()
    assert m.report.steps == 8


RANKS = """
import json, sys, warnings
from dataclasses import replace
from pathlib import Path
from lightning.fabric import Fabric
from lightning_energy import EnergyMonitor, ReplayMeter

class OfThisRank(ReplayMeter):
    def open(self):
        return replace(super().open(), device_id=f"device-{rank}")

def main(fabric):
    global rank
    rank = fabric.global_rank
    meter = OfThisRank(100.0 * (1 + rank), counter_period_s=0.01)
    record = Path(sys.argv[1], f"record{rank}")
    try:
        with EnergyMonitor(fabric=fabric, meters=meter, print_report=False, record=record) as monitor:
            for _ in range(300):
                with monitor.step(samples=2 + rank):
                    sum(range(20_000))
            monitor.log_metric("val_acc", 0.5)
            total = monitor.energy()
            if sys.argv[2] == "dies" and rank == 1:
                raise RuntimeError("rank 1 dies")
    finally:
        report = monitor.report
        energies = [total.energy_j, report.session.energy_j, total.u_j, report.session.u_j]
        text = [*energies, report.details(), report.outcome, report.session.duration_s]
        Path(sys.argv[1], f"rank{rank}.json").write_text(json.dumps(text))

fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
main(fabric)
"""


@pytest.mark.parametrize("mode", ["well", "dies"])
def test_two_ranks_with_fabric(tmp_path, warm, mode):
    script = tmp_path / "loop.py"
    script.write_text(RANKS)
    if mode == "dies":  # the other rank waits for this one's report until it is ended, by Lightning that started it
        first = warm.run(script, tmp_path, mode)
        assert first.returncode != 0
        _, run_j, _, u_j, text, outcome, run_s = json.loads((tmp_path / "rank1.json").read_text())
        assert outcome == "interrupted"
        assert run_j == pytest.approx(200.0 * run_s, abs=3 * u_j + 1.0)  # this rank's board alone, of 200 W
        assert "Incomplete: these are the figures of rank 1 alone" in text
        return
    for done in warm.run_ranks(script, 2, tmp_path, mode):
        assert_ended(done)
    record = load_record(tmp_path / "record0")
    assert not (tmp_path / "record1").exists()  # rank zero's has everything
    assert (record.ranks, record.samples.n, record.metric.value) == (2, 300 * 2 + 300 * 3, 0.5)
    zero, one = (json.loads((tmp_path / f"rank{r}.json").read_text()) for r in range(2))
    assert zero[:4] == one[:4]
    assert record.total.energy_j == pytest.approx(zero[1], rel=1e-9)
    total_j, run_j, *u_j, text, _, _ = zero
    assert 0 < total_j <= run_j + 3 * math.hypot(*u_j)  # its last update was not known yet, but supposed
    assert "Covers, read by 2 ranks: " in text


def test_an_exception_leaves_a_report_and_no_thread():
    m = monitor()
    with pytest.raises(KeyError, match="mine"), m, m.stage("train", 0):  # noqa: PT012 - the loop is the statement
        busy(0.1)
        raise KeyError("mine")
    assert m.report.outcome == "interrupted"
    assert m.report.session.energy_j > 0
    assert not samplers()


def test_a_defect_of_ours_does_not_end_the_program(monkeypatch):
    monkeypatch.setattr("lightning_energy.training.loop_run.summarize", lambda *_, **__: 1 / 0)
    m = monitor()
    with pytest.warns(UserWarning, match="no report, as ZeroDivisionError"), m:
        busy(0.05)
    assert m.report is None  # which was told
    assert not samplers()


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserWarning])
def test_whatever_ends_its_beginning_leaves_nothing(monkeypatch, error):
    def interrupt(self, seconds):
        raise error("now")

    monkeypatch.setattr("lightning_energy.ledger.session.Session.watch_idle", interrupt)
    m = monitor(idle_s=1.0)
    with pytest.raises(error), m:
        pass
    assert not samplers()
    monkeypatch.undo()
    with m:  # it can be used again
        pass


def test_a_forked_child_leaves_it_alone():
    with monitor() as m:
        pid = os.fork()
        if pid == 0:
            m.__exit__(None, None, None)
            os._exit(0 if m._report is None else 1)
        assert os.waitpid(pid, 0)[1] == 0
    assert m.report.outcome == "completed"


def test_used_wrongly():
    m = monitor()
    with pytest.warns(UserWarning, match="EnergyMonitor: report is None until the `with .* has ended: read it after"):
        assert m.report is None
    with pytest.raises(RuntimeError, match="is not running"):
        m.log_metric("val_acc", 0.9)
    with pytest.raises(RuntimeError, match="is not running"):
        m.step()
    with pytest.raises(RuntimeError, match="is not running"):
        m.energy()
    with m, pytest.raises(RuntimeError, match="running already"):
        m.__enter__()
    with m:  # again: anew
        pass
    step = m._step
    with step:  # a step that outlives its monitor
        pass
    m.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"meters": "gpu"}, ValueError),
        ({"meters": 3}, TypeError),
        ({"idle_s": -1.0}, ValueError),
        ({"idle_s": float("nan")}, ValueError),
        ({"idle_s": float("inf")}, ValueError),
        ({"idle_s": "10"}, TypeError),
        ({"print_report": "no"}, TypeError),
        ({"allow_estimate": 0}, TypeError),
        ({"fabric": object(), "device": "cpu"}, ValueError),
        ({"record": ""}, TypeError),
        ({"record": 3}, TypeError),
    ],
)
def test_bad_settings(settings, error):
    with pytest.raises(error):
        monitor(**settings)


@pytest.mark.parametrize(
    ("device", "advice"),
    [
        ("gpu", "write device='cuda', or 'cuda:1' for the second one"),
        ("GPU:1", "write device='cuda'"),
        ("auto", "give a name that PyTorch knows, such as 'cuda', 'cuda:1' or 'cpu', or omit it"),
        (1.5, "device=1.5: give a name that PyTorch knows"),
    ],
)
def test_a_device_that_pytorch_does_not_know(device, advice):
    with pytest.raises(ValueError, match=re.escape(advice)):
        monitor(device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    m = monitor(meters="auto", device="cuda:1")
    with pytest.raises(RuntimeError, match="device='cuda:1': PyTorch .* finds no GPU here.*omit device"), m:
        pass
    assert not samplers()


def test_estimates_are_announced_and_can_be_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_energy.meters.find.SOURCES", (RaplSource(tmp_path / "powercap"),))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with monitor(meters="auto", device="cpu", idle_s=0.1) as m:
            pass
    assert any("ESTIMATED" in str(w.message) for w in caught)
    assert m.report.session.quality == "estimated"
    with pytest.raises(MeterUnavailable, match="allow_estimate=False"), monitor(meters="auto", allow_estimate=False):
        pass


def test_a_lost_sensor_is_told(capsys):
    gpu = SimulatedGpu(200.0, uuid=UUID, counter_period_s=0.02)
    with SimulatedNvml([gpu]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with monitor(meters=NvmlMeter(UUID), print_report=True) as m:
            busy(0.3)
            gpu.lose()
            busy(1.5)
            m.energy()
    assert sum("missing from all totals" in str(w.message) for w in caught) == 1
    assert m.report.session.missing_s > 1.0
    assert "missing" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ the record


def loop(m: EnergyMonitor, accuracies=(0.5, 0.9, 0.8), *, test: bool = False, samples: int | None = 32) -> None:
    with m:
        for epoch, accuracy in enumerate(accuracies):
            with m.stage("train", epoch):
                for _ in range(4):
                    with m.step(samples=samples):
                        busy(0.005)
            with m.stage("validate", epoch):
                busy(0.03)
                m.log_metric("val_acc", torch.tensor(accuracy))
        if test:
            with m.stage("test"):
                busy(0.05)


def test_each_run_leaves_a_record_in_a_folder_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    m = monitor(record=True)
    assert m.record_path is None
    paths = []
    for _ in range(2):
        loop(m)
        paths.append(m.record_path)
    first, second = map(load_record, paths)
    assert {p.parent.parent for p in paths} == {tmp_path / "energy_runs"}
    assert len({*paths}) == 2
    assert first.run_id != second.run_id
    assert second.report == m.report
    assert (first.outcome, first.rank, len(first.sessions)) == ("completed", 0, 1)
    assert (first.samples.n, first.steps.n) == (3 * 4 * 32, 12)
    assert first.samples.mean_j == pytest.approx(first.stages["train"].energy_j / 384)
    assert [(row.epoch, row.metric) for row in first.epochs] == [
        (0, 0.5),
        (1, pytest.approx(0.9)),
        (2, pytest.approx(0.8)),
    ]
    totals = [row.total_kwh for row in first.epochs]
    assert totals == sorted(totals)
    assert first.total == first.session == first.sessions[0].energy
    comparison = compare(tmp_path)
    assert sorted(run.energy_kwh for run in comparison.runs) == sorted(r.total.energy_kwh for r in (first, second))
    assert [run.metric for run in compare(tmp_path, epoch="best").runs] == [pytest.approx(0.9)] * 2
    assert cli.main(["report", str(paths[0])]) == 0
    assert "val_acc" in capsys.readouterr().out


OWN_LOOP = Path(__file__).parent.parent / "docs/how-to/own-loop.md"


def test_a_loop_as_the_documentation_has_it(tmp_path, capsys):
    """Metrics are given after the stages: they belong to the epoch that these were of."""
    text = re.search(r"```python\n(.*?)```", OWN_LOOP.read_text(), re.DOTALL)[1]
    assert "EnergyMonitor(fabric=fabric) as" in text
    measured = []

    def made(**kwargs) -> EnergyMonitor:
        measured.append(monitor(record=tmp_path, **kwargs))
        return measured[-1]

    names = {
        "fabric": Fabric(accelerator="cpu", devices=1),
        "loader": [[0] * 32] * 2,
        "train": lambda _: busy(0.03),
        "validate": lambda: busy(0.06) or 0.5,
        "EnergyMonitor": made,
    }
    text = text.replace("import EnergyMonitor, ", "import ")
    exec(text, names)
    report, record = measured[0].report, load_record(tmp_path)
    assert [(row.epoch, row.metric, row.is_final) for row in record.epochs] == [(e, 0.5, True) for e in range(10)]
    assert all(row.train_j > 0 < row.val_j and row.train_s > 0 < row.val_s for row in record.epochs)
    in_rows_j = math.fsum(row.train_j + row.val_j for row in record.epochs)
    of_stages_j = sum(report.stages[name].energy_j for name in ("train", "validate"))
    assert in_rows_j + report.between.energy_j == pytest.approx(of_stages_j, rel=1e-6)
    assert len(capsys.readouterr().out.splitlines()) == 11  # ten scores, and the total
    facts = report.details()
    assert "Training in all" in facts
    assert "validation included" in facts
    assert "sanity" not in facts


def test_a_metric_belongs_to_the_last_epoch_that_was_entered(tmp_path, monkeypatch):
    m = monitor(record=True)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second run knows nothing of the first one's epochs
        with m:
            m.log_metric("val_acc", 0.1)  # before any stage: of an unknown epoch
            for epoch in (5, 6):
                with m.stage("train", epoch):
                    busy(0.04)
                m.log_metric("val_acc", 0.2)
                with m.stage("validate", epoch):
                    busy(0.04)
                m.log_metric("val_acc", 0.3)
            with m.stage("train", 7):
                m.log_metric("val_acc", 0.4)
                busy(0.04)
        rows = load_record(m.record_path).epochs
        assert [(row.epoch, row.metric) for row in rows] == [
            (0, 0.1), (5, 0.2), (5, 0.3), (6, 0.2), (6, 0.3), (7, 0.4),
        ]  # fmt: skip
        assert [row.train_j is not None for row in rows] == [False, False, True, False, True, True]
        assert [row.is_final for row in rows] == [False, True, True, True, True, True]
        in_rows_j = math.fsum((row.train_j or 0) + (row.val_j or 0) for row in rows)
        assert in_rows_j + m.report.between.energy_j == pytest.approx(m.report.total.energy_j, rel=1e-6)


@pytest.mark.parametrize("epoch", ["0", 1.0, None])
def test_an_epoch_is_a_whole_number(epoch):
    cure = re.escape(f"stage('train', epoch={epoch!r}): give the epoch as a whole number")
    with monitor() as m:
        with pytest.raises(TypeError, match=cure), m.stage("train", epoch):
            pass
        with pytest.raises(TypeError, match=r"stage\(3\): give a name"), m.stage(3):
            pass
        with m.stage("train", torch.tensor(2)):
            busy(0.01)
        assert m.energy(epoch=2).duration_s > 0


@pytest.mark.parametrize(
    ("name", "meant"),
    [("training", "train"), ("Train", "train"), ("validation", "validate"), ("val", "validate"), ("testing", "test")],
)
def test_a_slip_in_the_name_of_a_stage_is_told_once(name, meant):
    with warnings.catch_warnings(record=True) as caught, monitor() as m:
        warnings.simplefilter("always")
        for epoch in range(2):
            for stage in (name, "warm-up", "train", "validate", "test", "predict"):
                with m.stage(stage, epoch), m.step():
                    pass
    texts = [str(w.message) for w in caught if "stage(" in str(w.message)]
    assert len(texts) == 1
    assert texts[0].startswith(f"EnergyMonitor: stage({name!r}) is not {meant!r}: ")
    assert texts[0].endswith(f"write stage({meant!r}) if you mean it")


def test_a_test_is_no_part_of_the_training(tmp_path):
    m = monitor(record=tmp_path / "mine.json")
    loop(m, test=True)
    report = m.report
    training_j = report.stages["train"].energy_j + report.stages["validate"].energy_j
    assert report.total.energy_j == pytest.approx(training_j, rel=1e-9)
    assert report.session.energy_j == pytest.approx(training_j + report.stages["test"].energy_j, rel=1e-9)
    assert load_record(tmp_path / "mine.json").total == report.total


def test_a_loop_that_tests_alone_is_no_run(tmp_path):
    with monitor(record=tmp_path) as m, m.stage("test"), m.step(samples=4):
        busy(0.05)
    assert (m.report.total, m.report.samples, m.report.sessions) == (None, None, 0)
    assert compare(tmp_path).runs == []


def test_samples_are_known_if_every_step_says_its_own(tmp_path):
    with monitor() as m:
        for samples in (32, None, 8):
            with m.step(samples=samples):
                pass
    assert m.report.samples is None
    (text,) = (note.text for note in m.report.notes if note.kind == "samples")
    assert text == "Samples were not counted: 1 of 3 steps were without monitor.step(samples=…)"
    with m:
        with pytest.raises(TypeError, match="samples='8': give the number of samples"):
            m.step(samples="8")
        with pytest.raises(ValueError, match="samples=-1"):
            m.step(samples=-1)
    loop(m, samples=None)
    assert m.report.samples is m.report.sample_j is None
    assert not [note for note in m.report.notes if note.kind == "samples"]


def test_what_is_no_value_of_a_metric(tmp_path):
    with monitor(record=tmp_path) as m:
        m.log_metric("val_acc", 0.7)
        for value, text in ((93.1, "no fraction in"), (float("nan"), "not finite")):
            with pytest.warns(UserWarning, match=f"val_acc = .* is left out, as it is {text}"):
                m.log_metric("val_acc", value)
        with pytest.raises(TypeError, match="value='good': give a number"):
            m.log_metric("val_acc", "good")
        with pytest.raises(TypeError, match="name=3: give the name of the metric"):
            m.log_metric(3, 0.9)
        with pytest.raises(ValueError, match="mode='up': give 'max'"):
            m.log_metric("val_acc", 0.9, mode="up")
        with pytest.raises(ValueError, match="scale='points': give 'fraction'"):
            m.log_metric("val_acc", 0.9, scale="points")
        with pytest.warns(UserWarning, match="is left out"):
            m.log_metric("another", math.inf)
    assert m.report.metric == Metric("val_acc", 0.7)
    why = "in epoch 2 val_acc = nan is left out, as it is not finite"
    assert m.report.no_metric == why
    assert ("No metric", why) in in_brief(m.report).lines
    assert [row.metric for row in load_record(m.record_path).epochs] == [0.7, None, None]


@pytest.mark.parametrize("said", [{}, {"mode": "min"}])
def test_a_loss_is_no_accuracy(said):
    with monitor() as m:
        if said:
            m.log_metric("val_loss", 0.8, **said)
        else:
            with pytest.warns(UserWarning, match="val_loss is taken for one of which less is better.*give mode='min'"):
                m.log_metric("val_loss", 0.8)
    assert m.report.metric == Metric("val_loss", 0.8, "min", "raw")


def test_a_loop_that_is_killed_leaves_a_record_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "EVERY_S", 0.0)
    seen, do = [], Later.do

    def do_and_wait(later, kind, work) -> None:
        do(later, kind, lambda: (work(), writers.add(threading.current_thread().name)))
        later.flush()

    writers = set()
    monkeypatch.setattr(Later, "do", do_and_wait)
    with pytest.raises(KeyError, match="mine"), monitor(record=tmp_path) as m:  # noqa: PT012 - the loop is the statement
        for epoch in range(2):
            with m.stage("train", epoch), m.step(samples=3):
                busy(0.03)
            seen.append(load_record(tmp_path))
        raise KeyError("mine")
    assert writers == {"lightning-energy-writer"}  # the loop does not wait for the disk
    assert {record.outcome for record in seen} == {"running"}
    assert [record.sessions for record in seen] == [[], []]
    assert seen[0].total.duration_s < seen[1].total.duration_s
    last = load_record(tmp_path)
    assert (last.outcome, last.sessions[0].outcome) == ("interrupted", "interrupted")
    assert last.total == m.report.total


def test_a_disk_that_does_not_take_the_record_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    m = monitor(record=tmp_path / "file" / "energy.json")
    with pytest.warns(UserWarning, match=r"the record cannot be written .* EnergyMonitor\(record=…\)"):
        loop(m)
    assert m.report.outcome == "completed"
    assert m.record_path is None


def test_a_working_directory_that_is_gone_is_told(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.warns(UserWarning, match="the record cannot be written"), monitor(record=True) as measured:
        busy(0.05)
    assert measured.report.total.energy_j > 0


def test_a_path_that_no_system_takes_leaves_the_report(tmp_path):
    with (
        pytest.warns(UserWarning, match="the record cannot be written .ValueError"),
        monitor(record=f"{tmp_path}/a\0b") as measured,
    ):
        busy(0.05)
    assert measured.report.total.energy_j > 0


def test_numbers_that_no_step_and_no_metric_has():
    with monitor() as measured:
        with pytest.raises(ValueError, match="from 0 to 1e\\+15"):
            measured.step(samples=10**400)
        with pytest.raises(TypeError, match="give a number, the value of val_acc"):
            measured.log_metric("val_acc", 10**400)


def test_phases_of_a_loop_of_ones_own():
    """They may be in steps, between them, and in one another; an exception ends them, and a stage within one, too."""

    def fails() -> None:
        busy(0.002)
        raise KeyError("mine")

    with EnergyMonitor(meters=ReplayMeter(100.0), record=False, print_report=False) as monitor:
        for epoch in range(2):
            with monitor.stage("train", epoch):
                for _ in range(3):
                    with monitor.phase("data"):
                        busy(0.002)
                    with monitor.step():
                        with monitor.phase("forward"):
                            busy(0.002)
                            with monitor.phase("inner"):
                                busy(0.002)
                        with pytest.raises(KeyError), monitor.phase("backward"):
                            fails()
                        busy(0.002)
                with monitor.phase("saving"), monitor.stage("validate", epoch):
                    busy(0.002)
    report = monitor.report
    names = ["other", "data", "forward", "inner", "backward", "saving"]
    assert [phase.name for phase in report.phases["train"]] == names
    assert {*report.phases} == {"train"}
    joules = {phase.name: phase.energy.energy_j for phase in report.phases["train"]}
    assert sum(joules.values()) == pytest.approx(report.stages["train"].energy_j, rel=1e-9)
    for name in ("data", "forward", "inner", "backward"):  # each works six times
        assert report.stages["train"].energy_j > joules[name] > 0
    assert report.steps == 6


def test_a_phase_around_steps_has_them_and_what_is_between_them():
    with EnergyMonitor(meters=ReplayMeter(100.0), record=False, print_report=False) as monitor, monitor.stage("train"):
        with monitor.phase("warmup"):
            for _ in range(2):
                with monitor.step():
                    with monitor.phase("forward"):
                        busy(0.002)
                    busy(0.004)
                busy(0.002)
        with monitor.step():
            busy(0.002)
    phases = {phase.name: phase.energy.duration_s for phase in monitor.report.phases["train"]}
    assert phases["warmup"] >= 0.012
    assert phases["forward"] >= 0.004
    assert monitor.report.steps == 3
    assert sum(phases.values()) == pytest.approx(monitor.report.stages["train"].duration_s)


def test_a_phase_in_another_thread_leaves_the_trainings_own_as_they_are():
    def prefetch() -> None:
        with monitor.phase("fetch"):
            pass

    monitor = EnergyMonitor(meters=ReplayMeter(100.0), record=False, print_report=False)
    with pytest.warns(match="another thread"), monitor, monitor.stage("train"), monitor.phase("forward"):  # noqa: PT031
        thread = threading.Thread(target=prefetch)
        thread.start()
        thread.join()
        busy(0.002)
    assert {phase.name for phase in monitor.report.phases["train"]} <= {"other", "forward"}


def test_more_names_than_anybody_needs_are_the_rest():
    monitor = EnergyMonitor(meters=ReplayMeter(100.0), record=False, print_report=False)
    with pytest.warns(match="more than 32 names"), monitor, monitor.stage("train"):  # noqa: PT031
        for i in [*range(100), 3]:
            with monitor.phase(f"batch_{i}"):
                busy(0.0001)
    assert len(monitor.report.phases["train"]) <= 33


@pytest.mark.parametrize(
    ("name", "error"), [(3, TypeError), ("", ValueError), ("a b", ValueError), ("gap", ValueError)]
)
def test_a_phase_needs_a_name(name, error):
    monitor = EnergyMonitor(meters=ReplayMeter(100.0), record=False, print_report=False)
    with monitor, pytest.raises(error, match="give a name"), monitor.phase(name):
        pass
    with pytest.raises(RuntimeError, match="not running"), monitor.phase("data"):
        pass


def test_a_disk_that_is_full_for_a_while_is_told_by_the_loop_itself(tmp_path, monkeypatch):
    """The thread that writes keeps the warning until the loop comes by."""
    monkeypatch.setattr(recorder, "EVERY_S", 0.0)
    write, failures = recorder.write_record, [OSError(28, "No space left on device")]

    def fails_once(path, record) -> None:
        if failures:
            raise failures.pop()
        write(path, record)

    monkeypatch.setattr(recorder, "write_record", fails_once)
    do = Later.do
    monkeypatch.setattr(Later, "do", lambda later, kind, work: (do(later, kind, work), later.flush()))
    told = pytest.warns(UserWarning, match="the record cannot be written .OSError: .*No space")
    with monitor(record=tmp_path) as m, told, m.stage("train", 0):
        busy(0.01)
    assert load_record(tmp_path).outcome == "completed"
