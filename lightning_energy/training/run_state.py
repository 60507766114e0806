"""The state of a run in a checkpoint, read and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from lightning_energy.results.node import DamagedError, Node
from lightning_energy.results.parse import energy_of, epochs_of, notes_of, sessions_of
from lightning_energy.results.upgrade import VersionError, upgrade
from lightning_energy.scores.metric import Scale
from lightning_energy.scores.stopping import Reached

if TYPE_CHECKING:
    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.notes import Note
    from lightning_energy.results.rows import EpochRow, SessionRow

__all__ = ["RunState", "read_state"]


class RunState(NamedTuple):
    """A run as its checkpoint knows it; see :class:`~lightning_energy.training.run_memory.RunMemory`.

    Attributes:
        run_id: the name of the run.
        total: its energy.
        sessions: a row per session.
        history: a row per training epoch.
        notes: remarks on them.
        axis: unit of the axis of curves over energy; ``None`` unknown.
        chosen: the metric that was found to be the accuracy; ``None`` where none was.
        scales: by the name of a metric its scale.
        reference_kwh: the reference of the score where it is the run's own; ``None`` elsewhere.
        reached: the best values at the last validations.
    """

    run_id: str
    total: Energy
    sessions: list[SessionRow]
    history: list[EpochRow]
    notes: list[Note]
    axis: str | None
    chosen: str | None
    scales: dict[str, Scale]
    reference_kwh: float | None
    reached: list[Reached]


def read_state(state: dict[str, Any]) -> RunState:
    """Read the state that :meth:`RunMemory.state <lightning_energy.training.run_memory.RunMemory.state>` gave.

    Raises:
        ValueError: it was written by a newer version, or is damaged.
    """
    try:
        known = Node(upgrade(Node(state, "state").mapping()))
        return RunState(
            run_id=known["run_id"].text(),
            total=energy_of(known["total"]),
            sessions=sessions_of(known["sessions"]),
            history=epochs_of(known["history"]),
            notes=notes_of(known["notes"]),
            axis=_text_or_none(state.get("axis")),
            chosen=_text_or_none(state.get("accuracy")),
            scales=known.get("scales").maybe(_scales_of) or {},
            reference_kwh=known.get("reference_kwh").maybe(Node.amount),
            reached=known.get("reached").maybe(_reached_of) or [],
        )
    except VersionError as error:
        raise ValueError(f"the checkpoint's energy {error}: upgrade lightning-energy") from error
    except DamagedError as error:
        raise ValueError(f"the checkpoint's energy is damaged ({error})") from error


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _scales_of(node: Node) -> dict[str, Scale]:
    return {name: scale.one_of(get_args(Scale)) for name, scale in node.entries()}


def _reached_of(node: Node) -> list[Reached]:
    rows = [[*row.items()] for row in node.items()]
    if any(len(row) != len(Reached._fields) for row in rows):
        raise node.wrong("rows of value, kWh and seconds")
    return [Reached(best.number(), kwh.maybe(Node.amount), missing.amount()) for best, kwh, missing in rows]
