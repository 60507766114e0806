"""Puts the figures of benchmarks/results into the pages of docs; a test compares the two.

python benchmarks/tables.py  # after accuracy, overhead, scale, neighbours, sharing, forecast, phases or phases_cost
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/what-it-costs.md"
JOULES = ROOT / "docs/where-the-joules-come-from.md"
SPENDING = ROOT / "docs/spending-wisely.md"
PHASES = ROOT / "docs/where-the-joules-go.md"
STEP = "10 ms"
BESIDE = {"DeviceStatsMonitor", "bare, log 10", "bare, tuples"}  # shown though they report no energy
ENOUGH = 10  # touched steps; a median of fewer says nothing
FIRST = "2 ms"  # the first training of a process: later ones start faster, as tools keep what they found
COLUMNS = {  # key: (heading, digits)
    "hook_us": ("hooks µs", 1),
    "hook_p99_us": ("p99 µs", 0),
    "hook_cpu_us": ("CPU µs", 1),
    "logged_us": ("logged µs", 0),
    "epoch_ms": ("epoch ms", 1),
    "epoch_hook_ms": ("at its end ms", 1),
    "first_epoch_ms": ("first ms", 1),
    "other_cpu": ("background %", 2),
    "calls_per_s": ("NVML/s", 1),
    "calls_in_thread": ("in hooks", 1),
    "rss_mib": ("MiB", 1),
    "import_ms": ("import ms", 0),
    "start_ms": ("start ms", 0),
    "stop_ms": ("stop ms", 0),
    "step_error": ("step error %", 1),
    "epoch_error": ("epoch error %", 2),
    "total_error": ("total error %", 2),
}


def results(name: str) -> dict:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())


def overhead() -> str:
    """Medians at one step length, for all that measure energy, and Lightning's own monitor."""
    found = results("overhead")
    first = {r["tool"]: r["start_ms"] for r in found["rows"] if r["step"] == FIRST}
    lines = [f"| {STEP} steps | {' | '.join(h for h, _ in COLUMNS.values())} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for row in found["rows"]:
        if row["step"] == STEP and (row["measures"] or row["tool"] in BESIDE):
            shown = {**row, "start_ms": first[row["tool"]]}
            cells = [f"{shown[k]['median']:.{digits}f}" if shown[k] else "" for k, (_, digits) in COLUMNS.items()]
            lines.append(f"| {row['tool']} | {' | '.join(cells)} |")
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    repeats = max(r["repeats"] for r in found["rows"])
    lines += [
        "",
        f"{found['date']}; {versions}; Python {found['python']}; {found['machine']}; {repeats} repetition(s).",
    ]
    return "\n".join(lines)


def not_first() -> str:
    """The text that the benchmark prints beneath its table."""
    return "\n".join(f"- {line}" for line in results("overhead")["not_first"]) or "Nowhere."


def targets() -> str:
    found = results("scale")
    lines = ["| target | measured | at most | met |", "| --- | --- | --- | --- |"]
    for row in found["targets"]:
        met = "yes" if row["met"] else "**no**"
        lines.append(f"| {row['target']} | {row['measured']:.3g} | {row['at_most']:g} {row['unit']} | {met} |")
    return "\n".join([*lines, "", f"{found['date']}; Python {found['python']}; {found['machine']}."])


BUSY = 1.5  # load from which on others had a share in the figures


def neighbours() -> str:
    """What a step takes longer that a read of the counter, or a booking, falls into."""
    found = results("neighbours")
    heads = [
        "read by",
        "a read: median µs (p99)",
        "a booking: median µs (p99)",
        "both, % of the time (95 %)",
        "CPU of reads and bookings, ms/s (of helpers)",
        "of one read, µs",
        "the search, once: CPU s (steps took longer by)",
    ]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, row in found["rows"].items():
        both = row.get("together") or row.get("poll") or row["booking"]
        cells = [_touched(row.get(kind, {"steps": 0})) for kind in ("poll", "booking")]
        cells.append("{:.2f} ({:.2f} to {:.2f})".format(both["percent"], *both["percent_95"]) if both["steps"] else "")
        cells.append(_cpu_ms_per_s(row) if "cpu_per_call_us" in row else "")
        cells.append(_cpu_of_read(row))
        cells.append(_searched(row["search"]) if "search" in row else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    load = found["load"]
    shared = f" **Others kept the machine busy (load {load:.0f}): to be measured again.**" if load > BUSY else ""
    return "\n".join([*lines, "", f"{found['date']}; Python {found['python']}; {found['machine']}.{shared}"])


def _searched(search: dict) -> str:
    lost_s = search["together"].get("percent", 0.0) * search["seconds"] / 100
    return f"{search['cpu_of_bookings_s']:.2f} ({lost_s:.1f} s in {search['seconds']:.0f} s)"


def _touched(row: dict) -> str:
    return f"{row['median_us']:.0f} ({row['p99_us']:.0f})" if row["steps"] >= ENOUGH else ""


def _cpu_ms_per_s(row: dict) -> str:
    own = row["cpu_ms_per_s"] if "cpu_ms_per_s" in row else 1e-3 * row["cpu_per_call_us"] * row["calls_per_s"]
    beside = row.get("cpu_of_helpers_ms_per_s")
    return f"{own:.1f} ({beside:.1f})" if beside else f"{own:.1f}"


def _cpu_of_read(row: dict) -> str:
    """The CPU time of a read with its wake-up, where a process of ours, or a bare one, makes reads."""
    us = row["reader"]["cpu_per_read_us"] if row.get("reader") else row.get("cpu_per_call_us")
    return "" if us is None or "poll" not in row else f"{us:.0f}"


def gpu_cost() -> str:
    found = results("gpu-h200")
    lines = ["| model | mode | step ms | tool | added µs | CPU µs | around the fit, ms |", "| --- " * 7 + "|"]
    step_ms = {(r["model"], r["mode"]): r["step_ms"] for r in found["cost"] if r["tool"] == "no-op"}
    for row in found["cost"]:
        if row["tool"] != "no-op":
            added = [f"{1e3 * row[f'added_{k}']:.0f} ± {1e3 * row[f'spread_{k}']:.0f}" for k in ("step_ms", "cpu_ms")]
            around = f"{row['added_around_ms']:.0f} ± {row['spread_around_ms']:.0f}"
            step = f"{step_ms[row['model'], row['mode']]:.1f}"
            lines.append(
                f"| {row['model']} | {row['mode']} | {step} | {row['tool']} | {' | '.join(added)} | {around} |"
            )
    return "\n".join([*lines, "", _of_gpu(found)])


def gpu_steps() -> str:
    found = results("gpu-h200")
    heads = ["in a row", "steps of", "true J", "mean J", "rms error %", "perfect curve %", "within 2 u", "Zeus: mean J"]
    lines = [f"| {' | '.join([*heads, 'rms error %'])} |", "| --- " * 9 + "|"]
    ours, zeus = ([r for r in found["steps"]["steps"] if r["tool"] == t] for t in ("EnergyCallback", "Zeus steps"))
    for a, b in zip(ours, zeus, strict=True):
        limit, inside = f"{100 * a['rms_error_of_a_perfect_curve']:.0f}", f"{a['within_2u']:.0%}"
        cells = [str(a["block"]), a["kind"], f"{a['true_j']:.2f}", f"{a['mean_j']:.2f}", f"{100 * a['rms_error']:.0f}"]
        cells += [limit, inside, f"{b['mean_j']:.2f}", f"{100 * b['rms_error']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _of_gpu(found)])


METHODS = {  # key of the benchmark's steps: heading
    "limit": "limit",
    "ours": "ours",
    "lines": "straight lines",
    "edges 10 ms": "edges, poll every 10 ms",
    "all polls": "all polls interpolated",
    "counter": "counter differenced",
    "power x t": "power by time",
}


def steps() -> str:
    """Relative rms errors of single steps, means over seeds."""
    found = results("accuracy")
    lines = [f"| update | step | {' | '.join(METHODS.values())} | ours / limit |", "| --- " * (len(METHODS) + 3) + "|"]
    for key in dict.fromkeys((c["period_s"], c["step_s"]) for c in found["steps"]):
        same = [c for c in found["steps"] if (c["period_s"], c["step_s"]) == key]
        mean = {m: sum(c[m] for c in same) / len(same) for m in METHODS}
        values = " | ".join(f"{100 * mean[m]:.3g}" for m in METHODS)
        lines.append(f"| {1e3 * key[0]:g} ms | {1e3 * key[1]:g} ms | {values} | {mean['ours'] / mean['limit']:.2f} |")
    worst, limit = (max(abs(100 * c[k]) for c in found["steps"]) for k in ("total", "total limit"))
    seeds = f"{found['date']}; means of {len({c['seed'] for c in found['steps']})} seeds; virtual time."
    totals = f"The totals of these runs were at most {worst:.2f} % off, those of the limit {limit:.2f} %."
    return "\n".join([*lines, "", f"{seeds} {totals}"])


SHARED = {  # kind of window: heading
    "run": "run",
    "train": "training",
    "validation": "validation",
    "epoch x stage": "epoch and stage",
    "single step": "single step",
    "step/gap": "step, gap",
}


def played(name: str) -> dict:
    """The cases that are played in virtual time."""
    found = results(name)
    return found["schedules"] if name == "accuracy" else found


OF_KINDS = ("two kinds", "long and short", "every fourth")  # in the name of a case whose steps are of kinds


def is_of_kinds(row: dict) -> bool:
    return any(text in row["case"] for text in OF_KINDS)


def rms(name: str) -> str:
    """Relative rms errors by straight lines and by fitted powers."""
    found = played(name)
    lines = [f"| update: case | {' | '.join(SHARED.values())} |", "| --- " * (len(SHARED) + 1) + "|"]
    for row in found["rows"]:
        if is_of_kinds(row):
            continue
        pairs = [[] if row[k] is None else [row[k]["line_rms"], row[k]["rms"]] for k in SHARED]
        cells = [" → ".join(_percent(x) for x in pair) for pair in pairs]
        case = "**all**" if row["case"] == "all" else row["case"]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{found['date']}; {found['runs']} runs; base seeds {found['seeds']}; virtual time."])


def _percent(x: float) -> str:
    return f"{100 * x:.2f}" if x < 0.1 else f"{100 * x:.0f}"


def sharing_kinds() -> str:
    """Errors of single steps of kinds in turns."""
    found = results("sharing")
    heads = ["update: case", "single step", "within u", "within 2 u", "median u / median error", "training"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    rows = [row for row in found["rows"] if is_of_kinds(row)]
    for row in rows:
        x, train = row["single step"], row["train"]
        errors = [" → ".join(_percent(y) for y in (z["line_rms"], z["rms"])) for z in (x, train)]
        covered = [f"{x['within_u']:.0%}", f"{x['within_2u']:.0%}", format(x["u_over_error"], ".1f")]
        lines.append(f"| {row['case']} | {' | '.join([errors[0], *covered, errors[1]])} |")
    runs = sum(row["train"]["runs"] for row in rows)
    return "\n".join([*lines, "", f"{found['date']}; {runs} runs; base seeds {found['seeds']}; virtual time."])


def sure(name: str) -> str:
    """Coverage by kind of window, over all cases."""
    row = played(name)["rows"][-1]
    heads = ["kind of window", "runs", "windows", "within u", "within 2 u", "median u / median error"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for kind, heading in {"epoch": "epoch", **SHARED}.items():
        x = row[kind]
        cells = [str(x["runs"]), str(x["windows"]), f"{x['within_u']:.0%}", f"{x['within_2u']:.0%}"]
        lines.append(f"| {heading} | {' | '.join([*cells, format(x['u_over_error'], '.1f')])} |")
    return "\n".join(lines)


def short(name: str) -> str:
    """The cases that fall short."""
    names = {"epoch": "epoch", **SHARED}
    lines = [
        f"- {row['case']}: " + "; ".join(f"{names[kind]}: {', '.join(what)}" for kind, what in row["short"].items())
        for row in played(name)["rows"]
        if row["short"] and row["case"] != "all"
    ]
    return "\n".join(lines) or "Nowhere."


def _of_gpu(found: dict) -> str:
    versions = f"torch {found['torch']}, lightning {found['lightning']}, zeus {found['zeus']}"
    return f"{found['date']}; {found['device']}, driver {found['doctor']['driver']}; {versions}."


def forecast() -> str:
    """How often forecasts hold, and how wide they are."""
    lines = [
        "| forecast | runs | energy within, % | time within, % | median width, % | off by, median, % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for moment, kinds in results("forecast")["moments"].items():
        for name, row in kinds.items():
            off = f"{100 * row['median_error']:.2g}" if name == "without early stopping" else ""
            shares = (
                f"{100 * row['covers_energy']:.0f} | {100 * row['covers_time']:.0f} | {100 * row['median_width']:.0f}"
            )
            lines.append(f"| {moment}, {name} | {row['runs']} | {shares} | {off} |")
    return "\n".join(lines)


def phases() -> str:
    """The error and the uncertainty of each phase."""
    found = results("phases")
    names = [*found["rows"][0]["phases"]]
    lines = [
        f"| case | within u / 2 u, % | {' | '.join(names)} |",
        f"| --- | --- |{' --- |' * len(names)}",
    ]
    for row in found["rows"]:
        cells = [
            f"{100 * x['rms']:.2g} ± {100 * x['median_u']:.2g}" if x["resolved"] > 0.5 else "not resolved"
            for x in row["phases"].values()
        ]
        lines.append(
            f"| {row['case']} | {100 * row['within_u']:.0f} / {100 * row['within_2u']:.0f} | {' | '.join(cells)} |"
        )
    within = f"{100 * found['within_u']:.0f} % within u, {100 * found['within_2u']:.0f} % within 2 u"
    return "\n".join([*lines, "", f"Errors (rms) ± median u in %; of {found['runs']} runs, {within}."])


PROFILERS = {"none": "Lightning's default", "simple": "SimpleProfiler"}


def phases_cost() -> str:
    """What phases add to a step, and to the work of other threads."""
    found = results("phases-cost")
    heads = ["work in a step", "profiler", "loop", "phases add to CPU", "at the lowest tenth", "to the time"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for row in found["rows"]:
        added = [row[key] for key in ("cpu_us", "least_cpu_us", "time_us")]
        cells = [row["work"], PROFILERS[row["profiler"]], f"{row['loop_us']:.0f}"]
        cells += ["{:.0f} ({:.0f} to {:.0f})".format(x["added"], *x["interval"]) for x in added]
        lines.append(f"| {' | '.join(cells)} |")
    shared = f" Others kept the machine busy (load {found['load']:.0f})." if found["load"] > BUSY else ""
    return "\n".join(
        [*lines, "", f"µs per step (95 %). {found['date']}; Python {found['python']}; {found['machine']}.{shared}"]
    )


def phases_background() -> str:
    """The CPU time of other threads, with phases and without."""
    found = results("phases-cost")["background"]
    lines = ["| update | without, % of a core | with phases |", "| --- | --- | --- |"]
    for period_ms in dict.fromkeys(row["period_ms"] for row in found):
        cells = ["{first_percent:.1f}, then {percent:.1f}".format(**r) for r in found if r["period_ms"] == period_ms]
        lines.append(f"| {period_ms:g} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


def phases_epoch_ends() -> str:
    """The CPU time of the training thread at the end of an epoch, with phases and without."""
    found = results("phases-cost")["epoch_ends"]
    lines = ["| epochs of | without, ms (greatest) | with phases |", "| --- | --- | --- |"]
    for work_ms, steps in dict.fromkeys((row["work_ms"], row["steps"]) for row in found):
        cells = ["{median_ms:.0f} ({most_ms:.0f})".format(**r) for r in found if r["work_ms"] == work_ms]
        lines.append(f"| {steps} steps of {work_ms:g} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "overhead": overhead,
    "not first": not_first,
    "targets": targets,
    "neighbours": neighbours,
    "gpu cost": gpu_cost,
    "gpu steps": gpu_steps,
}
OF_JOULES: dict[str, Callable[[], str]] = {
    "steps": steps,
    "sharing": lambda: rms("sharing"),
    "sharing kinds": sharing_kinds,
    "sharing sure": lambda: sure("sharing"),
    "sharing short": lambda: short("sharing"),
    "polled": lambda: rms("accuracy"),
    "polled sure": lambda: sure("accuracy"),
    "polled short": lambda: short("accuracy"),
}
OF_SPENDING: dict[str, Callable[[], str]] = {"forecast": forecast}
OF_PHASES: dict[str, Callable[[], str]] = {
    "phases": phases,
    "phases cost": phases_cost,
    "phases background": phases_background,
    "phases epoch ends": phases_epoch_ends,
}
PAGES = {PAGE: BLOCKS, JOULES: OF_JOULES, SPENDING: OF_SPENDING, PHASES: OF_PHASES}


def filled(page: str, path: Path = PAGE) -> str:
    """The page at ``path`` with each block between its two comments replaced."""
    for name, make in PAGES[path].items():
        pattern = re.compile(rf"(<!-- {name} -->\n)(?:(?!<!--).)*(<!-- end -->)", re.DOTALL)
        text = make()
        page, n = pattern.subn(lambda m, text=text: f"{m[1]}{text}\n{m[2]}", page)
        if n != 1:
            raise ValueError(f"{path.name} has {n} blocks {name!r}: there must be one")
    return page


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(), page))
