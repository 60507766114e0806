"""From plain types to a record, every field checked: the opposite of ``to_plain``."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, get_args

from lightning_energy.curves.energy import Energy
from lightning_energy.curves.power_series import PowerSeries
from lightning_energy.curves.resolution import Resolution
from lightning_energy.ledger.how_shared import Beside, ClassPower, HowShared, Method, Moved, PhaseParts, StepKinds
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.meters.base import Condition, Quality, Scope
from lightning_energy.meters.clock import Anchor
from lightning_energy.results.carbon import Derived
from lightning_energy.results.figures import Device, FirstWaits, Missing, Outcome, Spread
from lightning_energy.results.machine import Machine
from lightning_energy.results.node import Node
from lightning_energy.results.notes import Note, NoteKind
from lightning_energy.results.plain import plain
from lightning_energy.results.record import Record, Samples, Score, Steps
from lightning_energy.results.rows import DERIVED_COLUMNS, EpochPhase, EpochRow, Evaluation, SessionRow
from lightning_energy.scores.metric import Metric, Mode, Scale

if TYPE_CHECKING:
    from typing import Any

__all__ = ["energy_of", "epochs_of", "notes_of", "power_of", "record_of", "sessions_of"]


def record_of(document: Node) -> Record:
    """A record of today's version.

    Raises:
        DamagedError: a field is not there, or has a wrong value. Other fields than those of this version are ignored.
    """
    return Record(
        run_id=document["run_id"].text(),
        outcome=_outcome(document["outcome"]),
        started_unix_s=document["started_unix_s"].number(),
        updated_unix_s=document["updated_unix_s"].number(),
        what=_what(document["what"]),
        where=_machine(document["where"]),
        rank=document["rank"].integer(),
        ranks=document["ranks"].integer(1),
        absent_ranks=document["absent_ranks"].integer(),
        devices=[_device(item) for item in document["devices"].items()],
        session=energy_of(document["session"]),
        stages={stage: energy_of(item) for stage, item in document["stages"].entries()},
        resolutions={s: item.one_of(get_args(Resolution)) for s, item in document["resolutions"].entries()},
        before=document["before"].maybe(energy_of),
        total=document["total"].maybe(energy_of),
        steps=Steps(
            document["steps"]["n"].integer(), document["steps"]["mean_j"].maybe(Node.amount), *_u(document["steps"])
        ),
        samples=_samples(document["samples"]),
        gaps=document["gaps"].maybe(energy_of),
        missing=[_missing(item) for item in document["missing"].items()],
        above_idle_j=document["above_idle_j"].maybe(Node.number),
        metric=document["metric"].maybe(_metric),
        score=document["score"].maybe(_score),
        derived=document["derived"].maybe(_derived),
        epochs=epochs_of(document["epochs"]),
        sessions=sessions_of(document["sessions"]),
        evaluations=[_evaluation(item) for item in document["evaluations"].items()],
        notes=notes_of(document["notes"]),
        no_score=document.get("no_score").maybe(Node.text) or "",
        units=_units(document.get("units")),
        above_idle_u=document.get("above_idle_u").maybe(_spread),
        seed=document.get("seed").maybe(Node.integer),
        global_seed=document.get("global_seed").maybe(Node.integer),
        n_val=document.get("n_val").maybe(Node.integer),
        n_test=document.get("n_test").maybe(Node.integer),
        phases=document.get("phases").maybe(_phases) or {},
        phases_by_rank=document.get("phases_by_rank").maybe(_of_ranks) or [],
        first_waits=document.get("first_waits").maybe(_first_waits),
    )


def energy_of(row: Node) -> Energy:
    """An energy; other keys beside its own are ignored."""
    return Energy(
        energy_j=row["energy_j"].maybe(Node.amount),
        u_j=row["u_j"].amount(),
        u_absolute_j=row["u_absolute_j"].amount(),
        duration_s=row["duration_s"].amount(),
        missing_s=row["missing_s"].amount(),
        quality=row["quality"].one_of(get_args(Quality)),
        power_w=row["power_w"].maybe(Node.amount),
    )


def epochs_of(rows: Node) -> list[EpochRow]:
    """The rows of epochs."""
    return [_epoch(row) for row in rows.items()]


def sessions_of(rows: Node) -> list[SessionRow]:
    """The rows of sessions."""
    return [
        SessionRow(
            row["started_unix_s"].number(),
            row["outcome"].one_of(get_args(Outcome)),
            energy_of(row),
            row["samples"].maybe(Node.integer),
            row.get("between").maybe(energy_of),
            tuple(_device(item) for item in (row.get("devices").maybe(Node.items) or ())),
        )
        for row in rows.items()
    ]


def notes_of(rows: Node) -> list[Note]:
    """Remarks; a kind that a later release added is ``other`` here."""
    return [_note(row["kind"].text(), row["text"].text()) for row in rows.items()]


def _phases(rows: Node) -> dict[str, list[PhaseEnergy]]:
    return {stage: [_phase(item) for item in phases.items()] for stage, phases in rows.entries()}


def _of_ranks(rows: Node) -> list[list[PhaseEnergy]]:
    return [[_phase(item) for item in phases.items()] for phases in rows.items()]


def _first_waits(row: Node) -> FirstWaits:
    return FirstWaits(row["n"].integer(), row["duration_s"].amount(), row["first_s"].amount())


def _phase(row: Node) -> PhaseEnergy:
    resolved, longer = row["resolved"].truth(), row["longer"].maybe(Node.amount)
    return PhaseEnergy(row["name"].text(), energy_of(row["energy"]), resolved, longer)


def _outcome(node: Node) -> Outcome:
    outcome: Outcome = node.one_of(tuple(o for o in get_args(Outcome) if o != "checkpoint"))
    return outcome


def _what(node: Node) -> dict[str, Any]:
    node.get("module").maybe(Node.text)
    for key in ("parameters", "devices", "data_parallel_replicas"):
        node.get(key).maybe(Node.integer)
    what: dict[str, Any] = plain(node.mapping())
    return what


def _machine(row: Node) -> Machine:
    return Machine(
        system=row["system"].text(),
        machine=row["machine"].text(),
        cpu=row["cpu"].text(),
        cpu_threads=row["cpu_threads"].maybe(Node.integer),
        nvidia_driver=row["nvidia_driver"].maybe(Node.text),
        versions={name: item.text() for name, item in row["versions"].entries()},
    )


def _device(row: Node) -> Device:
    return Device(
        name=row["name"].text(),
        device_id=row["device_id"].text(),
        scope=row["scope"].one_of(get_args(Scope)),
        energy=energy_of(row["energy"]),
        period_s=row["period_s"].maybe(Node.amount),
        note=row["note"].text(),
        rank=row["rank"].integer(),
        shared=row.get("shared").maybe(_shared),
        condition=row.get("condition").maybe(_condition),
        power=row.get("power").maybe(power_of),
    )


def _condition(row: Node) -> Condition:
    return Condition(
        power_limit_w=row.get("power_limit_w").maybe(Node.amount),
        temperature_c=row.get("temperature_c").maybe(Node.number),
        sm_clock_mhz=row.get("sm_clock_mhz").maybe(Node.amount),
        sm_clock_max_mhz=row.get("sm_clock_max_mhz").maybe(Node.amount),
        memory_clock_mhz=row.get("memory_clock_mhz").maybe(Node.amount),
    )


def power_of(row: Node) -> PowerSeries:
    """The thinned power of a device."""
    mean_w, bin_s = tuple(row["mean_w"].amounts()), row["bin_s"].amount()
    if bin_s == 0:
        raise row["bin_s"].wrong("the width of a bin in seconds")
    return PowerSeries(
        start_ns=row["start_ns"].integer(),
        bin_s=bin_s,
        mean_w=mean_w,
        known=tuple(_known_part(item, len(mean_w)) for item in row.get("known").maybe(Node.items) or ()),
        clock=_anchors(row["clock"]),
    )


def _known_part(pair: Node, n: int) -> tuple[int, float]:
    number, seconds = pair.some(2, "the number of a bin and seconds")
    if number.integer() >= n:
        raise number.wrong(f"the number of one of {n} bins")
    return number.integer(), seconds.amount()


def _anchors(rows: Node) -> tuple[Anchor, ...]:
    pairs = (pair.some(2, "a moment by both clocks") for pair in rows.items())
    anchors = tuple(Anchor(monotonic.integer(), unix.integer()) for monotonic, unix in pairs)
    if not anchors or any(b.monotonic_ns <= a.monotonic_ns for a, b in pairwise(anchors)):
        raise rows.wrong("a row of rising moments")
    return anchors


def _shared(row: Node) -> HowShared:
    return HowShared(
        method=row["method"].one_of(get_args(Method)),
        why=row["why"].text(),
        intervals=row["intervals"].integer(),
        delay_s=row["delay_s"].maybe(Node.number),
        delay_u_s=row["delay_u_s"].maybe(Node.amount),
        smoothing_s=row["smoothing_s"].maybe(Node.amount),
        smoothing_u_s=row["smoothing_u_s"].maybe(Node.amount),
        look=row["look"].maybe(Node.amount),
        scatter_j2_per_s=row["scatter_j2_per_s"].maybe(Node.amount),
        classes=tuple(map(_class_power, row["classes"].items())),
        ends_s=_numbers(row["ends_s"]),
        powers_w=tuple(map(_numbers, row["powers_w"].items())),
        covariance_w2=tuple(map(_numbers, row["covariance_w2"].items())),
        step_kinds=row.get("step_kinds").maybe(lambda kinds: tuple(map(_step_kinds, kinds.items()))) or (),
        moved=row.get("moved").maybe(lambda rows: tuple(map(_moved, rows.items()))) or (),
        parts=row.get("parts").maybe(lambda rows: tuple(map(_phase_parts, rows.items()))) or (),
        beside=row.get("beside").maybe(lambda rows: tuple(map(_beside, rows.items()))) or (),
    )


def _class_power(row: Node) -> ClassPower:
    return ClassPower(row["stage"].text(), row["phase"].text(), row["power_w"].amount(), row["u_w"].amount())


def _phase_parts(row: Node) -> PhaseParts:
    return PhaseParts(row["stage"].text(), row["phase"].text(), _numbers(row["ends"]), _numbers(row["beyond_w"]))


def _beside(row: Node) -> Beside:
    return Beside(
        row["delay_s"].number(),
        row["smoothing_s"].amount(),
        row["part"].number(),
        _numbers(row["powers_w"]),
        tuple(map(_numbers, row["beyond_w"].items())),
    )


def _moved(row: Node) -> Moved:
    phase = row.get("phase").maybe(Node.text) or ""
    return Moved(row["epoch"].integer(-1), row["stage"].text(), row["kind"].text(), row["energy_j"].number(), phase)


def _step_kinds(row: Node) -> StepKinds:
    kinds = tuple(kind.integer() for kind in row["kinds"].items())
    n = tuple(item.integer() for item in row.get("n").maybe(Node.items) or ())
    step_s, step_j, step_u_j = (
        tuple(i.amount() for i in row.get(k).maybe(Node.items) or ()) for k in ("step_s", "step_j", "step_u_j")
    )
    return StepKinds(
        row["stage"].text(),
        row["every"].integer(),
        kinds,
        _numbers(row["limits_s"]),
        n,
        step_s,
        step_j,
        step_u_j,
        row.get("phase").maybe(Node.text) or "",
    )


def _numbers(row: Node) -> tuple[float, ...]:
    return tuple(item.number() for item in row.items())


def _u(row: Node) -> tuple[float | None, float | None]:
    return row.get("u_j").maybe(Node.amount), row.get("u_absolute_j").maybe(Node.amount)


def _samples(row: Node) -> Samples:
    return Samples(row["n"].maybe(Node.integer), row["mean_j"].maybe(Node.amount), *_u(row))


def _spread(row: Node) -> Spread:
    return Spread(row["u_j"].amount(), row["u_absolute_j"].amount())


def _missing(row: Node) -> Missing:
    return Missing(
        device_id=row["device_id"].text(),
        started_unix_s=row["started_unix_s"].number(),
        duration_s=row["duration_s"].amount(),
        rank=row["rank"].integer(),
    )


def _metric(row: Node) -> Metric:
    return Metric(
        name=row["name"].text(),
        value=row["value"].number(),
        mode=row["mode"].one_of(get_args(Mode)),
        scale=row["scale"].one_of(get_args(Scale)),
    )


def _score(row: Node) -> Score:
    return Score(
        value=row["value"].number(),
        formula=row["formula"].text(),
        energy_kwh=row["energy_kwh"].maybe(Node.amount),
        u=row.get("u").maybe(Node.amount),
    )


def _derived(row: Node) -> Derived:
    return Derived(
        carbon_intensity_g_per_kwh=row["carbon_intensity_g_per_kwh"].maybe(Node.amount),
        region=row["region"].maybe(Node.text),
        source=row["source"].maybe(Node.text),
        year=row["year"].maybe(Node.integer),
        pue=row["pue"].number(1.0),
        price_per_kwh=row["price_per_kwh"].maybe(Node.amount),
        facility_kwh=row["facility_kwh"].maybe(Node.amount),
        co2eq_g=row["co2eq_g"].maybe(Node.amount),
        co2eq_u_g=row["co2eq_u_g"].maybe(Node.amount),
        cost=row["cost"].maybe(Node.amount),
        cost_u=row["cost_u"].maybe(Node.amount),
    )


def _epoch(row: Node) -> EpochRow:
    derived = {name: row[name].maybe(Node.amount) for name in DERIVED_COLUMNS if name in row.mapping()}
    return EpochRow(
        session=row["session"].maybe(Node.integer),
        epoch=row["epoch"].integer(),
        train_j=row["train_j"].maybe(Node.amount),
        train_u_j=row["train_u_j"].maybe(Node.amount),
        train_s=row["train_s"].maybe(Node.amount),
        val_j=row["val_j"].maybe(Node.amount),
        val_u_j=row["val_u_j"].maybe(Node.amount),
        val_s=row["val_s"].maybe(Node.amount),
        missing_s=row["missing_s"].maybe(Node.amount),
        total_kwh=row["total_kwh"].maybe(Node.amount),
        total_u_kwh=row["total_u_kwh"].maybe(Node.amount),
        metric=row["metric"].maybe(Node.number),
        score=row["score"].maybe(Node.number),
        derived=derived,
        score_u=row.get("score_u").maybe(Node.amount),
        train_quality=row.get("train_quality").maybe(_quality),
        val_quality=row.get("val_quality").maybe(_quality),
        is_final=row.get("is_final").maybe(Node.truth) or False,
        logged_train_j=row.get("logged_train_j").maybe(Node.number),
        logged_val_j=row.get("logged_val_j").maybe(Node.number),
        logged_total_kwh=row.get("logged_total_kwh").maybe(Node.number),
        no_metric=row.get("no_metric").maybe(Node.text),
        validations=row.get("validations").maybe(Node.integer),
        phases=tuple(_epoch_phase(item) for item in (row.get("phases").maybe(Node.items) or ())),
    )


def _epoch_phase(row: Node) -> EpochPhase:
    energy_j, u_j = row["energy_j"].maybe(Node.amount), row["u_j"].amount()
    return EpochPhase(row["name"].text(), energy_j, u_j, row["resolved"].truth())


def _quality(node: Node) -> Quality:
    quality: Quality = node.one_of(get_args(Quality))
    return quality


def _evaluation(row: Node) -> Evaluation:
    return Evaluation(
        row["started_unix_s"].number(),
        _outcome(row["outcome"]),
        {stage: energy_of(item) for stage, item in row["stages"].entries()},
        _units(row.get("units")),
    )


def _units(row: Node) -> dict[str, dict[str, int | None]]:
    """Numbers by stage and unit; earlier releases have none."""
    if row.value is None:
        return {}
    return {stage: {unit: n.maybe(Node.integer) for unit, n in units.entries()} for stage, units in row.entries()}


def _note(kind: str, text: str) -> Note:
    known: dict[str, NoteKind] = {k: k for k in get_args(NoteKind)}
    return Note(known.get(kind, "other"), text)
