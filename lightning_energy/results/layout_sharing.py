"""The way in which energy between two updates of a sensor is shared out, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.results.readable import scale, si

if TYPE_CHECKING:
    from lightning_energy.ledger.how_shared import ClassPower, HowShared, StepKinds
    from lightning_energy.results.figures import Device, Figures

__all__ = ["delay_in_words", "facts_of_sharing"]

MOST_DEVICES = 4
TOLD = 0.4  # largest relative uncertainty of a power that a run tells
AT_ONCE_S = 0.001  # a delay of so much, and known as well, is none
PHASES = {
    "data": "waiting for data",
    "copy": "copying it",
    "saving": "saving checkpoints",
    "other": "the rest",
    "opening/data": "waiting for its first data",
    "opening/copy": "copying its first data",
    "step": "steps",
    "gap": "between steps",
    "opening": "before its first step",
    "before": "before the run",
    "after": "after the run",
}


def facts_of_sharing(report: Figures) -> list[tuple[str, str]]:
    """Lines of (label, text): for each device, how late its counter is, and the mean powers that were told.

    Args:
        report: the figures.
    """
    told = [device for device in report.devices if device.shared is not None]
    facts = [(f"Mean powers of {device.name}", _text(device)) for device in told[:MOST_DEVICES]]
    left = len(told) - MOST_DEVICES
    return [*facts, *([("Mean powers", f"of {left} more devices: see the record")] if left > 0 else [])]


def _text(device: Device) -> str:
    shared = device.shared
    if shared is None or shared.method == "lines":
        why = "" if shared is None else shared.why
        return f"not known, so that the energy between two updates is divided by time alone: {why}"
    delay = delay_in_words(
        shared.delay_s or 0.0,
        shared.delay_u_s or 0.0,
        shared.smoothing_s or 0.0,
        shared.smoothing_u_s or 0.0,
        shared.look,
    )
    texts = [*_powers(shared), *delay]
    texts += [_kinds(kinds) for kinds in shared.step_kinds]
    if shared.moved:
        most_j = max(abs(row.energy_j) for row in shared.moved)
        texts.append(f"By powers alone, parts of the run had less than nothing or too much: up to {most_j:.2g} J moved")
    return ". ".join(texts)


def delay_in_words(
    delay_s: float, u_s: float, smoothing_s: float = 0.0, smoothing_u_s: float = 0.0, look: float | None = None
) -> list[str]:
    """The delay and the smoothing of a counter, in sentences without a full stop.

    Args:
        delay_s: seconds between an energy and the update that shows it.
        u_s: their standard uncertainty.
        smoothing_s: time constant of its smoothing.
        smoothing_u_s: its standard uncertainty.
        look: part of each period that the sensor looks at; ``None`` unknown.

    Example:
        >>> delay_in_words(0.038, 0.004)
        ['The counter shows energy 38 ± 4 ms late']
    """
    delay = f"{delay_s * 1e3:.0f} ± {_ms(u_s)} ms"
    texts = [f"The counter shows energy {delay} late"]
    if delay_s <= 2 * u_s:
        is_short = abs(delay_s) <= AT_ONCE_S and u_s <= AT_ONCE_S
        texts = ["The counter shows energy at once" if is_short else f"The counter is not seen to be late ({delay})"]
    if smoothing_s > AT_ONCE_S or smoothing_u_s > AT_ONCE_S:
        texts[0] += f", and smoothed over {smoothing_s * 1e3:.0f} ± {_ms(smoothing_u_s)} ms"
    if look is not None and look < 1:
        texts.append(f"It seems to look at {100 * look:.0f} % of the time")
    return texts


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}" if seconds < 0.001 else f"{seconds * 1e3:.0f}"  # noqa: PLR2004 - a millisecond


def _powers(shared: HowShared) -> list[str]:
    of_kinds = {(kinds.stage, kinds.phase or "step") for kinds in shared.step_kinds}
    names = [_name(c, has_kinds=(c.stage, c.phase) in of_kinds) for c in shared.classes]
    powers = [*zip(names, shared.classes, strict=True)]
    told = [f"{name} {c.power_w:.3g} ± {c.u_w:.2g} W" for name, c in powers if c.u_w <= TOLD * c.power_w]
    rest = [name for name, c in powers if c.u_w > TOLD * c.power_w]
    left = f"not known, as too rare or too short: {', '.join(rest)}" if rest else ""
    if not told:
        return [left or "none is known"]
    follow = f"They follow from {shared.intervals} updates, and divide the energy between two of them"
    return ["; ".join(filter(None, (", ".join(told), left))), follow]


def _name(row: ClassPower, *, has_kinds: bool) -> str:
    of_steps, _, kind = row.phase.partition(" ")
    kind = kind or ("1" if has_kinds else "")
    phase = f"{PHASES.get(of_steps, of_steps)} of kind {kind}" if kind else PHASES.get(row.phase, row.phase)
    return phase if row.stage == "outside" else f"{_words(row.stage)} ({phase})"


def _words(stage: str) -> str:
    return stage.replace("_", " ")


def _kinds(rule: StepKinds) -> str:
    """The steps of each kind: which they are, how many, and what each takes."""
    if rule.every:
        how = f"by their number in the epoch, from 0 on, modulo {rule.every}"
        numbers = [
            [k for k, kind in enumerate(rule.kinds) if kind == of] for of in range(max(rule.kinds, default=0) + 1)
        ]
        most = max(map(len, numbers))
        which = ["the others" if len(those) == most > 1 else " or ".join(map(str, those)) for those in numbers]
    else:
        limits = [si(limit_s, "s", digits=3) for limit_s in rule.limits_s]
        how = "by duration"
        which = [f"below {limits[0]}", *(f"from {limit} on" for limit in limits)] if limits else []
    of_each = [
        f", {n} steps of {_with_u(step_j, u_j)} each"
        for n, step_j, u_j in zip(rule.n, rule.step_j, rule.step_u_j, strict=True)
    ]
    words = [f"kind {i + 1} is {text}{of_each[i] if of_each else ''}" for i, text in enumerate(which)]
    of = f"{_words(rule.stage)} ({rule.phase})" if rule.phase else _words(rule.stage)
    return f"Steps of {of} are of kinds {how}: {'; '.join(words)}"


def _with_u(joules: float, u_j: float) -> str:
    factor, prefix = scale(joules)
    return f"{joules / factor:.3g} ± {u_j / factor:.2g} {prefix}J"
