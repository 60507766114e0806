"""Accounts of a run recomputed from record and trace, as docs/what-a-run-leaves.md says, without the package."""

from __future__ import annotations

import numpy as np


def smoothed_s(start_s, column, width, ema_s, at_s):
    """Seconds of each column up to moments, as a sensor shows them that smooths over ``ema_s``."""
    one = np.eye(width)[column]
    length_s = np.diff(start_s)
    total_s = np.concatenate([np.zeros((1, width)), np.cumsum(one[:-1] * length_s[:, None], axis=0)])
    k = np.clip(np.searchsorted(start_s, at_s, side="right") - 1, 0, None)
    since_s = (at_s - start_s[k])[:, None]
    found = total_s[k] + one[k] * since_s
    if ema_s > 0:
        states = [one[0]]
        for before, seconds in zip(one[:-1], length_s, strict=True):
            states.append(before + (states[-1] - before) * np.exp(-seconds / ema_s))
        fade = np.exp(-since_s / ema_s)
        found -= ema_s * (np.array(states)[k] * fade + one[k] * (1 - fade))
    return found


def phase_of(step_kinds, row, number, name="step"):
    """The phase of a step: its kind, where its stage has kinds."""
    for of_stage in step_kinds:
        if of_stage["stage"] == row.stage and of_stage.get("phase", "step") == name:
            kind = np.searchsorted(of_stage["limits_s"], row.duration_s, side="right")
            kind = of_stage["kinds"][number % of_stage["every"]] if of_stage["every"] else int(kind)
            return f"{name} {kind + 1}" if kind else name
    return name


def phase_in_gap(place, name):
    """The phase of the time between steps, where it is divided."""
    if name == "saving":
        return name
    if name in {"", "other"}:
        return place if place == "opening" or not name else name
    return f"opening/{name}" if place == "opening" else name


def worked(shared, steps):
    """The beginning, the account and the class of work of each stretch, from well before the first on."""
    starts, accounts, phases = [-1e3], [None], [("outside", "before")]
    before, phase, counts = None, "opening", {}
    for row in steps.itertuples():
        name = getattr(row, "phase", "")
        if row.kind == "step":
            number = counts.get((row.epoch, row.stage, name), 0)
            counts[row.epoch, row.stage, name] = number + 1
            phase = "step"
            work = "other" if name == "other" else phase_of(shared.get("step_kinds", []), row, number, name or "step")
        elif before is None or before[:2] != (row.epoch, row.stage):
            phase = "opening"
        elif before[2] == "step":
            phase = "gap"
        if row.kind != "step":
            work = phase_in_gap(phase, name)
        before = (row.epoch, row.stage, row.kind, *([name] if hasattr(row, "phase") else []))
        starts.append(row.start_s)
        accounts.append(before)
        phases.append((row.stage, work))
    return starts, accounts, phases


def in_parts(shared, starts, accounts, phases):
    """The same with the stretches of phases cut that have parts: each is its class and the number of its part."""
    parts = {(p["stage"], p["phase"]): p["ends"] for p in shared.get("parts", [])}
    result = [], [], []
    for i, (start_s, account, phase) in enumerate(zip(starts, accounts, phases, strict=True)):
        length_s = starts[i + 1] - start_s if i + 1 < len(starts) else 0.0
        for k, at in enumerate([0.0, *parts.get(phase, [])]):
            for column, value in zip(result, (start_s + at * length_s, account, (phase, k)), strict=True):
                column.append(value)
    return result


def accounts_of(shared, curve, steps):
    """Joules by (epoch, stage, kind) of a device, and by phase where steps are divided.

    Args:
        shared: ``shared`` of the device in the record.
        curve: the rows of the device in ``energy.curve``.
        steps: the rows of ``energy.steps``.
    """
    if shared["method"] == "lines":  # by time alone
        lines = {"look": 1, "delay_s": 0.0, "smoothing_s": 0.0, "ends_s": [np.inf], "powers_w": [[0.0]]}
        shared = {**shared, **lines, "classes": []}
    assert shared["look"] == 1
    classes = [(c["stage"], c["phase"]) for c in shared["classes"]]
    starts, accounts, phases = worked(shared, steps)
    starts.append(steps.start_s.iloc[-1] + steps.duration_s.iloc[-1])
    accounts.append(None)
    phases.append(("outside", "after"))
    starts, accounts, phases = in_parts(shared, starts, accounts, phases)
    beyond_w = {(p["stage"], p["phase"]): p["beyond_w"] for p in shared.get("parts", [])}
    columns = [*dict.fromkeys(zip(accounts, phases, strict=True))]
    column = np.array([columns.index(pair) for pair in zip(accounts, phases, strict=True)])
    end_s, rise_j = curve.time_s.to_numpy(), np.diff(curve.energy_j)
    length_s, starts_s = np.diff(end_s), np.array(starts)
    block = np.minimum(np.searchsorted(shared["ends_s"], end_s[1:] - 5e-10), len(shared["ends_s"]) - 1)
    power_w = np.array(shared["powers_w"])[block]  # of each interval
    of_column = np.array([classes.index(phase) if phase in classes else -1 for _, (phase, _) in columns])

    def of_columns(power_w, beyond_w):
        more_w = np.array([beyond_w[phase][part] if phase in beyond_w else 0.0 for _, (phase, part) in columns])
        return np.where(of_column >= 0, power_w[..., np.maximum(of_column, 0)] + more_w, 0.0)

    def shares(kernel, own_w):
        at_s = end_s - kernel["delay_s"]
        spent_s = np.diff(smoothed_s(starts_s, column, len(columns), kernel["smoothing_s"], at_s), axis=0)
        model_j = (spent_s * own_w).sum(axis=1)
        return spent_s, spent_s / length_s[:, None] * (rise_j - model_j)[:, None] + spent_s * own_w

    beside = shared.get("beside", [])
    kernel = beside[0] if beside else shared
    spent_s, joules = shares(kernel, of_columns(power_w, beyond_w))
    last_w = of_columns(np.array(shared["powers_w"])[-1], beyond_w)
    for each in beside:
        parts_w = dict(zip(beyond_w, each["beyond_w"], strict=True))
        own_w = of_columns(np.array(each["powers_w"]), parts_w)
        joules += each["part"] * shares(each, own_w)[1]
        last_w += each["part"] * own_w
    # an interval whose ends are hardly known, or that is no difference of a counter, is shared out by time alone
    half_s, quality = curve.half_width_s.to_numpy(), curve.quality.to_numpy()[1:]
    is_counted = (quality == "measured") | (quality == "estimated")
    by_time = (half_s[1:] + half_s[:-1] >= 0.5 * length_s) | ~is_counted | (not classes)
    assert (spent_s[~by_time][:, of_column < 0] == 0).all()
    plain_s = np.diff(smoothed_s(starts_s, column, len(columns), 0.0, end_s - kernel["delay_s"]), axis=0)
    joules[by_time] = (plain_s / length_s[:, None] * rise_j[:, None])[by_time]
    # what the last update does not show yet goes on with the last powers
    last_s = np.array([end_s[-1] - kernel["delay_s"]])
    shown_s = smoothed_s(starts_s, column, len(columns), kernel["smoothing_s"], last_s)[0]
    whole_s = smoothed_s(starts_s, column, len(columns), 0.0, np.maximum(last_s, starts_s[-1]))[0]
    is_over = quality[-1] == "missing"
    is_shown = last_s[0] - starts_s[-1] > 25 * kernel["smoothing_s"]  # time constants
    ahead_j = 0.0 if is_shown or is_over else (whole_s - shown_s) * last_w
    found: dict[tuple[int, str, str], float] = {}
    for (account, _), energy_j in zip(columns, joules.sum(axis=0) + ahead_j, strict=True):
        if account is not None:
            found[account] = found.get(account, 0.0) + float(energy_j)
    for row in shared.get("moved", []):
        account = (row["epoch"], row["stage"], row["kind"], *([row.get("phase", "")] if "phase" in steps else []))
        found[account] += row["energy_j"]
    return found
