"""A comparison as one HTML page: a chart and a sortable table, with nothing to load.

Everything in a comparison was written by others: names of runs, of metrics, of files. It gets into the page as escaped
text, or as JSON without a ``<``; and a Content Security Policy lets no script run but the template's own.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from lightning_energy._version import __version__
from lightning_energy.comparison.difference import LEVEL
from lightning_energy.comparison.group_table import conditions_words, dominates_words
from lightning_energy.comparison.page_table import bodies, group_table, head
from lightning_energy.comparison.subject import Subject, better
from lightning_energy.results.markup import clean, escaped, fill_page, name
from lightning_energy.results.prefixes import WH_PER_KWH, energy_unit
from lightning_energy.results.readable import si
from lightning_energy.scores.formula import FORMULAS, SIGNS, Sustainable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["render_page"]

WARNINGS = 6  # shown at once; the others unfold
LONG = 30  # runs above which the table scrolls under its headings


def render_page(comparison: Mapping[str, Any], *, title: str | None = None) -> str:
    """Render a comparison as one HTML document that loads nothing: no script, font or picture from elsewhere.

    It holds a chart (the metric against energy with its uncertainty, the Pareto front, lines of equal score), a table
    that sorts by any column, and the formula. Without JavaScript the table is still there. Paths of records are left
    out, since a page is made to be passed on.

    Args:
        comparison: a comparison's ``to_plain()``. Energies in kWh, per sample in joules, times in seconds,
            power in watts; ``None`` is unknown, and so is a number that is not finite.
        title: the heading; by default the name of the metric, against energy.

    Returns:
        The document, to be written as UTF-8.

    Example:
        >>> run = {"name": "a<b", "metric": 9.5, "energy_kwh": 0.5, "u_kwh": 0.01, "on_front": True}
        >>> metric = {"name": "val_ppl", "mode": "min", "scale": "raw"}
        >>> page = render_page({"formula": None, "metric": metric, "runs": [run]})
        >>> "a&lt;b" in page, "a<b" in page, "500 ± 10 Wh" in page, "<title>val_ppl against energy</title>" in page
        (True, False, True, True)
    """
    runs = [{"on_front": False, **{k: _finite(v) for k, v in run.items()}} for run in comparison["runs"]]
    subject = Subject(**(comparison.get("metric") or {}))
    caveats, problems = (comparison.get(key, ()) for key in ("caveats", "problems"))
    return fill_page(
        __package__,
        "page.html",
        version=escaped(__version__),
        title=escaped(subject.title if title is None else title),
        metric=name(subject.heading) + (f" ({better(subject.mode)})" if subject.mode == "min" else ""),
        dominates=escaped(dominates_words(comparison.get("margin") or 0.0)),
        level=f"{comparison.get('level', LEVEL):g}",
        conditions=escaped(conditions_words(comparison.get("baseline"), comparison.get("margin") or 0.0)),
        facts=_facts(subject, runs),
        warnings=_warnings("Read with care", caveats) + _warnings("Problems", problems),
        box="box long" if len(runs) > LONG else "box",
        groups=group_table(comparison, _with_means(comparison), runs, subject),
        head=head(runs, subject),
        bodies=bodies(runs, subject),
        formula=_formula(comparison["formula"], subject) + _stability(comparison.get("stability")),
        data=_island(comparison, runs, subject),
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _island(comparison: Mapping[str, Any], runs: Sequence[dict[str, Any]], subject: Subject) -> str:
    """The data of the chart, as JSON that cannot end its element. It is ASCII, so no U+2028 is in it either."""
    unit, per_kwh = energy_unit([run.get("energy_kwh") for run in runs])
    points = [
        {
            **{key: run.get(key) for key in ("energy_kwh", "u_kwh", "metric", "on_front", "kind")},
            **{key: clean(run.get(key) or "") for key in ("name", "quality", "hardware", "covers")},
        }
        for run in runs
    ]
    lines = [
        {"score": line["score"], "points": [point for point in line["points"] if all(map(math.isfinite, point))]}
        for line in comparison.get("iso_scores", ())
    ]
    metric = {"heading": clean(subject.heading), "mode": subject.mode, "is_raw": subject.scale == "raw"}
    courses = comparison.get("courses") or {}
    plain = {"unit": unit, "per_kwh": per_kwh, "metric": metric, "runs": points, "iso_scores": lines}
    plain["courses"] = [courses.get(str(run.get("name")), []) for run in runs]
    groups = _with_means(comparison)
    if not any(group["n"] > 1 for group in groups):
        groups = []
    plain["groups"] = [_point(group) for group in groups]
    places = {group["name"]: i for i, group in enumerate(groups)}
    for point, run in zip(points, runs, strict=True):
        point["group"] = places.get(run.get("group"))
    text = json.dumps(plain, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _with_means(comparison: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [group for group in comparison.get("groups") or () if group["energy_kwh"] and group["metric"]]


def _point(group: Mapping[str, Any]) -> dict[str, Any]:
    energy, metric = group["energy_kwh"], group["metric"]
    return {
        "name": clean(group["name"]),
        "n": group["n"],
        "energy_kwh": _finite(energy["mean"]),
        "sd_kwh": energy["sd"] or 0.0,
        "metric": _finite(metric["mean"]),
        "sd": metric["sd"] or 0.0,
        "on_front": group["on_front"],
        "kind": group.get("kind"),
    }


def _facts(subject: Subject, runs: Sequence[Mapping[str, Any]]) -> str:
    """Everything that holds for all runs, said once."""
    front = sum(run["on_front"] for run in runs)
    facts = [f"{len(runs):,} {'run' if len(runs) == 1 else 'runs'}, {front:,} on the front"]
    names = {run.get("metric_name") for run in runs if run.get("metric") is not None}
    if names:
        logged = name(names.pop() or "a metric without a name") if len(names) == 1 else "different names of one metric"
        word = "accuracy" if subject.name == "accuracy" else "metric"
        direction = "" if subject.name == "accuracy" else f", {better(subject.mode)}"
        facts.append(f"{word}: {logged}{direction}, {'best epoch' if subject.epoch == 'best' else 'last value'}")
    for field, label in (("hardware", "hardware"), ("covers", "energy covers")):
        values = {run.get(field) for run in runs}
        if len(values) == 1 and (value := values.pop()):
            facts.append(f"{label}: {escaped(value)}")
    return " · ".join(facts)


def _warnings(heading: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = [f"<li>{escaped(sentence)}</li>" for sentence in sentences]
    shown, rest = "".join(items[:WARNINGS]), items[WARNINGS:]
    more = f"<details><summary>{len(rest):,} more</summary><ul>{''.join(rest)}</ul></details>" if rest else ""
    return f'<section class="warn"><h2>{heading}</h2><ul>{shown}</ul>{more}</section>'


def _stability(found: Mapping[str, Any] | None) -> str:
    """The winners over the constants of the score, in sentences."""
    if not found:
        return ""
    items = "".join(f"<li>{escaped(sentence)}</li>" for sentence in found["sentences"])
    return f'<h2>Does the order by score hold?</h2><ul class="note">{items}</ul>'


def _formula(formula: Mapping[str, Any] | None, subject: Subject) -> str:
    """The score and SAM, with the meaning of their letters and the constants; or the reason why there is none."""
    notes = "".join(f'<p class="note">{escaped(s)}</p>' for s in (subject.target_words, subject.no_score) if s)
    if formula is None:
        return notes
    known = str(formula.get("name", ""))
    constants = [
        f"{sign} = {si(formula[key] * WH_PER_KWH, 'Wh') if key == 'reference_kwh' else format(formula[key], 'g')}"
        for key, sign in SIGNS.items()
        if formula.get(key) is not None
    ]
    written = f'<p class="formula">score = {FORMULAS[known]().markup}</p>' if known in FORMULAS else ""
    return (
        f'{notes}{written}<p class="formula">SAM = {Sustainable().markup}</p>'
        f'<p class="note">with {", ".join(constants) or "constants that are not known"}; <i>a</i> is the accuracy as a '
        f"fraction and <i>E</i> the energy of the training in kWh. The score is <code>{escaped(known)}</code>: it "
        f"compares only under the same formula and constants. SAM (<code>sustainable_accuracy</code>; ECCV 2024 "
        f"Workshops, part XXII, pp. 388-405, Springer 2025; arXiv 2310.06522) is defined above 1 kWh only, and "
        f"rankings by it depend on the unit of energy.</p>"
    )
