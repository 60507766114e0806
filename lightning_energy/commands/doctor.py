"""``lightning-energy doctor``: the meters of this machine, their quality, and how to make more of them readable."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from lightning_energy.commands.console import complain, number, print_out
from lightning_energy.commands.diagnosis import SECONDS, diagnose
from lightning_energy.commands.exits import Exit
from lightning_energy.commands.load import load_for
from lightning_energy.results.layout_sharing import delay_in_words

if TYPE_CHECKING:
    from lightning_energy.commands.diagnosis import Check, Diagnosis
    from lightning_energy.commands.lateness import Lateness
    from lightning_energy.meters.base import Quality, Scope

__all__ = ["add_arguments", "as_text", "run"]

LONGEST_S = 600.0

LATER = (
    "How late the counters show energy was not looked for: a training finds it out by itself, and "
    "`lightning-energy doctor --load` by twelve seconds of load."
)
NOTHING_LOADED = "nothing was put under load: no idle device here has a counter whose delay it would show"
WORDS_OF_QUALITY: dict[Quality, str] = {
    "measured": "a hardware energy counter",
    "integrated": "a hardware power sensor, integrated",
    "estimated": "a model, no measurement",
    "missing": "not readable",
}
WORDS_OF_SCOPE: dict[Scope, str] = {
    "gpu": "the whole GPU board",
    "board": "the whole GPU board, of which others use a part",
    "module": "the whole module: GPU, CPU and memory",
    "package": "the CPU package with its caches and memory controller",
    "dram": "the memory",
    "psys": "CPU, memory and chipset",
    "machine": "the machine",
    "processes": "the training's own processes on the CPU (here: this command)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its arguments."""
    parser.description = (
        "Open every meter of this machine, watch them for a moment, and report how they behave. "
        "Exit code 0: something is measured; 1: only an estimate is possible."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--seconds", type=_seconds, default=SECONDS, help=f"seconds to watch the meters (default: {SECONDS:g})"
    )
    parser.add_argument(
        "--load",
        action="store_true",
        help="also find how late the counters are: keep an idle GPU of each model, and the CPUs, busy for some four of "
        "twelve seconds each; devices that others use are left alone, and no setting is touched",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the diagnosis, and return the exit code."""
    if arguments.load:
        complain("doctor", "idle devices are put under load, one after the other for twelve seconds; Ctrl-C ends it")
    diagnosis = diagnose(arguments.seconds, load_for=load_for if arguments.load else None)
    if arguments.load and not any(meter.lateness is not None and meter.lateness.load for meter in diagnosis.meters):
        complain("doctor", NOTHING_LOADED)
    text = json.dumps(diagnosis.to_plain(), indent=2, allow_nan=False) if arguments.json else as_text(diagnosis)
    print_out(text)
    return Exit.FINE if diagnosis.is_measured else Exit.WORSE


def as_text(diagnosis: Diagnosis) -> str:
    """Write a diagnosis for a person."""
    lines = [f"lightning-energy {diagnosis.version}, Python {diagnosis.python}, {diagnosis.system}"]
    lines += diagnosis.drivers
    if diagnosis.visible is not None:
        lines.append(f"CUDA_VISIBLE_DEVICES={diagnosis.visible}: trainings see these only; below are all boards")
    for meter in diagnosis.meters:
        lines += ["", *_lines(meter)]
    if diagnosis.absent:
        lines += ["", "Cannot be read:", *(f"  - {text}" for text in diagnosis.absent)]
    if any(meter.quality == "measured" and meter.lateness is None for meter in diagnosis.meters):
        lines += ["", LATER]
    return "\n".join([*lines, "", _verdict(diagnosis)])


def _verdict(diagnosis: Diagnosis) -> str:
    used = [m for m in diagnosis.meters if m.is_sensor]
    if used:
        return (
            f"Verdict: {len(used)} sensor(s) can be read; EnergyCallback() measures with those of the devices that "
            f"it trains on, and with the node's CPU and memory where they are listed."
        )
    return (
        "Verdict: nothing can be measured here. EnergyCallback() falls back to the estimate, labels it as one and "
        "warns; EnergyCallback(allow_estimate=False) refuses it."
    )


def _lines(meter: Check) -> list[str]:
    rows = [
        ("quality", f"{meter.quality} ({WORDS_OF_QUALITY[meter.quality]})"),
        ("covers", f"{meter.scope}: {WORDS_OF_SCOPE[meter.scope]}"),
        ("power now", "not seen" if meter.power_w is None else f"{meter.power_w:.4g} W"),
        ("updated", _updates(meter)),
        ("delay", _delay(meter.lateness)),
        ("one read", "" if meter.latency_s is None else f"{meter.latency_s * 1e3:.3g} ms"),
        ("gain", f"{100 * meter.calibration_u:g} % standard uncertainty (k=1)"),
        *(("note", note) for note in meter.notes),
    ]
    return [f"{meter.name} ({meter.device_id})", *(f"  {key:10}{text}" for key, text in rows if text)]


def _updates(meter: Check) -> str:
    if meter.period_s is None:
        return ""
    stray = f", 80 % of them within {meter.residual_s * 1e3:.2g} ms of it" if meter.residual_s is not None else ""
    return f"every {meter.period_s * 1e3:.3g} ms{stray}"


def _delay(late: Lateness | None) -> str:
    if late is None:
        return ""
    if late.delay_s is None:
        return f"cannot be told: {late.why}" if late.load else f"not looked for: {late.why}"
    words = delay_in_words(
        late.delay_s, late.delay_u_s or 0.0, late.smoothing_s or 0.0, late.smoothing_u_s or 0.0, late.look
    )
    return f"{'. '.join(words)} ({late.load}: {late.work_w:.3g} W, without: {late.rest_w:.3g} W)"


def _seconds(text: str) -> float:
    seconds = number(text)
    if not 0 < seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds above 0 and up to {LONGEST_S:g}")
    return seconds
