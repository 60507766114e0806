"""Every public name as users write it. Nothing of this runs: mypy reads it, and a call that it refuses is a defect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric import Fabric
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torchmetrics.classification import MulticlassAccuracy

from lightning_energy import (
    Comparison,
    Energy,
    EnergyBudget,
    EnergyCallback,
    EnergyEfficiencyStopping,
    EnergyMonitor,
    EnergyPenalizedAccuracy,
    EnergyScore,
    Explanation,
    Meter,
    MeterInfo,
    MeterLost,
    MeterUnavailable,
    Reading,
    ReplayMeter,
    Report,
    SustainableAccuracy,
    WhatIf,
    __version__,
    compare,
    energy_penalized_accuracy,
    explain,
    functional,
    load_record,
    study,
    sustainable_accuracy,
    whatif,
)
from lightning_energy.meters import CalibratedMeter, CpuEstimateMeter, NvmlMeter, RaplMeter
from lightning_energy.scores.formula import EnergyPenalized

if TYPE_CHECKING:
    from torch import Tensor

version: str = __version__


# ------------------------------------------------------------------------------------------------ the callback


def the_callback() -> None:
    plain = EnergyCallback()
    meters: list[Meter] = [ReplayMeter(100.0), CpuEstimateMeter(max_w=65.0)]
    budget = EnergyBudget(max_kwh=1.5, reserve_kwh=0.1)
    spent: tuple[float, bool] = budget.spent_kwh, budget.is_exceeded
    print(spent, EnergyBudget(max_j=3.6e6, on_exceed="warn"))
    EnergyCallback(meters="nvml")
    EnergyCallback(meters=NvmlMeter("GPU-eeeeeeee-0000-0000-0000-000000000000"))
    EnergyCallback(meters=["nvml", "rapl", ReplayMeter(100.0)])
    EnergyCallback(meters=("rapl", RaplMeter(Path("/sys/class/powercap/intel-rapl:0"))))
    EnergyCallback(meters=meters)
    EnergyCallback(accuracy="val_acc", score=energy_penalized_accuracy, reference_kwh=0.01)
    EnergyCallback(score=lambda accuracy, energy_kwh: accuracy / (1 + energy_kwh))
    EnergyCallback(batch_size_fn=lambda batch: int(batch.num_graphs), per={"tokens": len}, allow_estimate=False)
    EnergyCallback(idle_s=10.0)
    EnergyCallback(print_report=None, record=True, trace="csv", dashboards=False, progress_bar=True)
    EnergyCallback(record="runs/mine", trace="parquet", carbon_intensity="DEU", pue=1.2, price=0.3)
    EnergyCallback(carbon_intensity=380.0)
    EnergyCallback(carbon_intensity=380, idle_s=1, reference_kwh=1, price=1)
    Trainer(
        callbacks=[
            plain,
            EarlyStopping("energy/score", mode="max"),
            ModelCheckpoint(monitor="energy/score", mode="max"),
        ]
    )
    evaluations: list[Report] = plain.evaluations
    print(len(evaluations))
    report: Report | None = plain.report
    if report is not None:
        figures_of(report)


def stopping() -> str:
    stops = EnergyEfficiencyStopping(max_kwh_per_point=0.05, point=0.01, patience=5)
    Trainer(callbacks=[EnergyCallback(accuracy="val_acc"), stops])
    price: float | None = stops.kwh_per_point
    epoch: int | None = stops.stopped_epoch
    return f"{price} {epoch} {stops.reason}"


def figures_of(report: Report) -> str:
    outcome: str = report.outcome
    for stage, energy in report.stages.items():
        print(stage.upper(), joules_of(energy))
    total: Energy | None = report.total
    score: float | None = report.score
    per_step_j: float | None = report.step_j
    for device in report.devices:
        print(device.device_id, device.energy.energy_j)
    for note in report.notes:
        print(str(note))
    return f"{outcome} {total} {score} {per_step_j} {report}"


def joules_of(energy: Energy) -> float:
    energy_j: float | None = energy.energy_j
    energy_kwh: float | None = energy.energy_kwh
    power_w: float | None = energy.power_w
    u_j: float = energy.u_j + energy.u_absolute_j
    if energy.quality == "missing" or energy_j is None or energy_kwh is None or power_w is None:
        return energy.missing_s
    return energy_j + u_j + energy_kwh * 3.6e6 + power_w * energy.duration_s


# ------------------------------------------------------------------------------------------------ the monitor


def the_monitor() -> None:
    with EnergyMonitor(meters="auto", device="cuda:0", idle_s=5.0, allow_estimate=False, print_report=False) as monitor:
        for epoch in range(2):
            with monitor.stage("train", epoch):
                for _ in range(10):
                    with monitor.step():
                        pass
                    with monitor.step(samples=32):
                        pass
            with monitor.stage("validate"):
                pass
            spent: Energy = monitor.energy()
            joules_of(spent)
            joules_of(monitor.energy(stage="train"))
            joules_of(monitor.energy(stage="train", epoch=epoch))
            monitor.log_metric("val_acc", 0.9)
            monitor.log_metric("val_acc", torch.tensor(0.9), mode="max", scale="fraction")
    report: Report | None = monitor.report
    place: Path | None = monitor.record_path
    print(report, place)
    EnergyMonitor(fabric=Fabric(), meters=ReplayMeter(100.0), record="runs/loop")
    EnergyMonitor(device=torch.device("cpu"))


# ------------------------------------------------------------------------------------------------ scores


def functions() -> tuple[float, Tensor]:
    accuracies = torch.tensor([0.8, 0.9])
    numbers: list[float] = [
        energy_penalized_accuracy(0.9, 0.5),
        energy_penalized_accuracy(1, 2),
        energy_penalized_accuracy(0.9, 0.5, 4.0, 1.0, reference_kwh=0.01),
        sustainable_accuracy(0.9, 12.0),
        sustainable_accuracy(0.9, 0.5, alpha=4.0, beta=1.0, on_invalid="nan"),
        functional.log_penalized_accuracy(0.9, 0.5, reference_kwh=0.1),
        functional.marginal_accuracy_per_kwh(0.9, 0.5, 0.8, 0.4),
    ]
    tensors: list[Tensor] = [
        energy_penalized_accuracy(accuracies, torch.tensor([0.5, 1.0])),
        energy_penalized_accuracy(accuracies, 0.5),
        energy_penalized_accuracy(0.9, torch.tensor([0.5, 1.0])),
        sustainable_accuracy(accuracies, 2.0, on_invalid="raise"),
        functional.log_penalized_accuracy(accuracies, 0.5),
    ]
    return numbers[0], tensors[0]


def metrics() -> Tensor:
    accuracy = MulticlassAccuracy(num_classes=10)
    scores: list[EnergyScore] = [
        EnergyPenalizedAccuracy(accuracy, alpha=4.0, beta=1.0, reference_kwh=0.01),
        EnergyPenalizedAccuracy(accuracy, dist_sync_on_step=True),
        SustainableAccuracy(accuracy, alpha=4, beta=1),
        EnergyScore(accuracy, EnergyPenalized(reference_kwh=0.1)),
    ]
    score = scores[0]
    predictions, target = torch.zeros(4, 10), torch.zeros(4, dtype=torch.int64)
    score.update(predictions, target)
    score.update(predictions, target, energy_kwh=0.5)
    score.set_energy(1.8e6)
    score.set_energy(1.8e6, u_j=1e3)
    energy_j: float | None = score.energy_j
    u_j: float | None = score.energy_u_j
    print(energy_j, u_j)
    value: Tensor = score.compute()
    score.reset()
    return value


# ------------------------------------------------------------------------------------------------ records


def reading(folder: Path) -> Report:
    record = load_record(folder)
    total: Energy | None = load_record("runs/a/energy.json").total
    metric: float | None = record.epochs[-1].metric
    texts: list[str] = [note.text for note in record.notes if note.lowers_total]
    print(total, metric, texts, record.outcome == "completed", record.to_plain()["version"], record.to_html(title="a"))
    return record.report


# ------------------------------------------------------------------------------------------------ comparison


def comparing() -> str:
    comparison: Comparison = compare("runs")
    compare(Path("runs"), sort="energy", reverse=True)
    compare(["runs/a", Path("runs/b/energy.json")], epoch="best", alpha=4.0, beta=1.0, reference_kwh=0.01)
    compare(str(n) for n in range(3))
    compare("runs", metric="val_ppl", scale="raw", target=(20, 25))
    compare("runs", by=["model", "lr"], level=0.01, margin=0.005)
    compare("runs", by=lambda run: run.name.partition("/")[0])
    rows: list[str] = [f"{group.name}: {group.n}" for group in comparison.groups]
    rows += [f"{verdict.one} and {verdict.other}: {verdict.kind}" for verdict in comparison.verdicts]
    rows.append(comparison.to_latex())
    for run in comparison.front:
        name: str = run.name
        energy_kwh: float | None = run.energy_kwh
        print(name, energy_kwh, run.metric, run.target_kwh, run.targets, run.on_front)
    problems: list[str] = comparison.problems
    caveats: list[str] = comparison.caveats
    print(problems, caveats)
    plain: dict[str, Any] = comparison.to_plain()
    frame = comparison.to_pandas()
    figure, ax = comparison.plot()
    comparison.plot(ax=ax)
    figure.savefig("compare.png")
    Path("compare.html").write_text(comparison.to_html(title="Mine"), encoding="utf-8")
    return f"{comparison} {plain} {frame}"


def replaying() -> str:
    explained: Explanation = explain("runs/a", beside=Path("runs/b"))
    saved: list[tuple[str, float, float]] = [(s.rule, s.energy_kwh, s.u_kwh) for s in explained.savings]
    print(explained, explain(load_record("runs/a")).unseen, saved)
    found: WhatIf = whatif("runs")
    whatif(["runs/a", Path("runs/b")], rules=("metric", "budget"), metric="val_acc", scale="percent", patience=3)
    whatif("runs", rules="best", alpha=(1, 5, 20.0), beta=5, reference_kwh=["runs/a", 0.01], score="penalized")
    whatif("runs", patience=range(1, 6), min_delta=0.001, max_kwh_per_point=[0.01, 0.1], point=0.01, window=5)
    whatif("runs", budget_kwh=0.5, score="sustainable")
    lines: list[str] = [f"{r.run} {r.rule}: {r.sentence()}" for r in found.replays if r.stops]
    for of in found.runs:
        kept: list[float | None] = [r.kept for r in of.replays]
        share: float | None = None if of.last_point is None else of.last_point.share
        print(of.name, kept, share, of.caveats)
    figure, ax = found.plot()
    found.plot(ax=ax)
    figure.savefig("whatif.png")
    print(found.problems, found.cannot, found.limits, [of.saved for of in found.of_rules])
    plain: dict[str, Any] = found.to_plain()
    return f"{found} {lines} {plain}"


# ------------------------------------------------------------------------------------------------ meters


class SmartPlug(Meter):
    """A meter of one's own."""

    def __init__(self, host: str) -> None:
        self.host = host

    def open(self) -> MeterInfo:
        if not self.host:
            raise MeterUnavailable("no plug there: give its host")
        return MeterInfo(
            device_id=f"plug-{self.host}",
            name="smart plug",
            quality="measured",
            scope="machine",
            per_node=True,
            power_max_w=3680.0,
            power_min_w=0.0,
            update_period_s=1.0,
            calibration_u=0.01,
            instant_power=True,
            coverage=1.0,
            note="the whole machine",
        )

    def read(self) -> Reading:
        try:
            return Reading(start_ns=0, end_ns=1, register_j=float(self.host))
        except ValueError as error:
            raise MeterLost(f"{self.host} does not answer") from error

    def read_power_w(self) -> float | None:
        return self.read().power_w

    def other_processes(self) -> list[int] | None:
        return []

    def close(self) -> None:
        pass


def meters_of_all_kinds() -> None:
    EnergyCallback(meters=SmartPlug("10.0.0.7"))
    EnergyCallback(meters=CalibratedMeter(SmartPlug("10.0.0.7"), gain=1.02, offset_w=3.0, u=0.01))
    ReplayMeter()
    ReplayMeter([(1.0, 100.0), (0.5, 300.0)], counter_period_s=None, device_id="mine")
    ReplayMeter(100, info=SmartPlug("1").open(), clock=lambda: 0)
    reading = Reading(0, 10, power_w=100.0)
    register_j: float | None = reading.register_j
    print(register_j)


def studies(folder: Path) -> None:
    def train(config: dict[str, Any], seed: int, own: Path) -> None:
        print(config, seed, own)

    manifest = study.run({"a": {"lr": 0.1}}, train=train, out=folder, seeds=[1, 2], order="random", cooldown_s=5)
    states: list[str | None] = [manifest.state_of(*planned) for planned in manifest.plan]
    found: study.StudyReport = study.report([folder], tuning="sweep", epoch="best")
    files, problems = found.write(folder / "report")
    energy_kwh: float = found.spent["runs"].energy_kwh
    print(states, files, problems, energy_kwh, [(item.name, item.answer) for item in found.checklist])
