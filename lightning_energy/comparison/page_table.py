"""The table of the HTML page: columns, cells and what they sort by. All text of others is escaped here."""

from __future__ import annotations

import html
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.units import duration, scale, si

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Run = dict[str, Any]

__all__ = ["WH_PER_KWH", "bodies", "clean", "energy_unit", "escaped", "head", "name"]

UNKNOWN = "&ndash;"
ALWAYS = {"run", "front", "accuracy", "energy", "score", "quality"}  # other columns only where a run has something
DOMINATORS = 3  # named in a cell; of a thousand runs hundreds may dominate one
LARGE = 1e4  # from here on a number is no longer read at a glance
NEAR = 1e3  # how far apart figures may be that are shown under one prefix
DECIMALS = 6  # more have no meaning on any meter
WH_PER_KWH = 1e3


def clean(text: object) -> str:
    r"""Text that every encoding and every parser keeps: what does not print becomes a visible sign.

    Example:
        >>> clean("a\x00b")
        'a␀b'
    """
    kept = str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # a lone surrogate: U+FFFD
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda c: chr(0x2400 + ord(c[0])) if c[0] < " " else "\ufffd", kept)


def escaped(text: object) -> str:
    """Text as markup, good for an element and for a quoted attribute."""
    return html.escape(clean(text))


def name(text: object) -> str:
    """A name from elsewhere, as markup: it may run from right to left, and must not turn its neighbours around."""
    return f'<bdi dir="auto">{escaped(text)}</bdi>'


def energy_unit(runs: Sequence[Run]) -> tuple[str, float]:
    """The unit in which these runs' energies read well, and how many of it make a kWh: J for small runs, else Wh."""
    middle = _middle([run.get("energy_kwh") for run in runs])
    return ("J", J_PER_KWH) if middle and middle * WH_PER_KWH < 1 else ("Wh", WH_PER_KWH)


class _Column(NamedTuple):
    """A column: heading, markup and sort key by run, the order of a first click, and the class of its cells."""

    label: str
    show: Callable[[Run], str]
    key: Callable[[Run], float | str | None]
    first: str = "ascending"
    style: str = "n"


def _columns(runs: Sequence[Run]) -> list[_Column]:
    unit, per_kwh = energy_unit(runs)
    energy = _Figures(unit, per_kwh, [run.get("energy_kwh") for run in runs])
    sample = _Figures("J", 1.0, [run.get("sample_j") for run in runs])
    metrics = len({run.get("accuracy_name") for run in runs if run.get("accuracy") is not None})
    columns = [
        _Column("run", _run, lambda r: clean(r["name"]), style="text"),
        _Column("front", _front, lambda r: int(r["on_front"]) if _is_placed(r) else None, "descending", "is-front"),
        _Column("accuracy", lambda r: _accuracy(r, metrics), lambda r: r.get("accuracy"), "descending"),
        _Column("energy", lambda r: energy.show(r.get("energy_kwh"), r.get("u_kwh")), lambda r: r.get("energy_kwh")),
        _Column("per sample", lambda r: sample.show(r.get("sample_j")), lambda r: r.get("sample_j")),
        _plain("SAM", "sam", "{:.3f}".format, "descending"),
        _plain("score", "score", "{:.3f}".format, "descending"),
        _plain("time", "duration_s", duration),
        _plain("power", "power_w", lambda w: si(w, "W")),
        _plain("parameters", "parameters", _count),
        _plain("quality", "quality", str, style="text"),
        _Column("dominated by", _dominators, _dominated, style="dominators"),
        _Column("caveats", lambda r: str(len(r.get("caveats", ())) or UNKNOWN), lambda r: len(r.get("caveats", ()))),
    ]
    return [c for c in columns if c.label in ALWAYS or any(c.show(run) != UNKNOWN for run in runs)]


def _plain(label: str, field: str, show: Callable[[Any], str], first: str = "ascending", style: str = "n") -> _Column:
    def shown(run: Run) -> str:
        return UNKNOWN if run.get(field) in {None, ""} else escaped(show(run[field]))

    return _Column(label, shown, lambda run: run.get(field), first, style)


def head(runs: Sequence[Run]) -> str:
    """The cells of the heading."""
    cells = []
    for column in _columns(runs):
        kind = "text" if column.style == "text" else "number"
        css = ' class="n"' if column.style == "n" else ""
        cells.append(f'<th scope="col" data-kind="{kind}" data-first="{column.first}"{css}>{column.label}</th>')
    return "".join(cells)


def bodies(runs: Sequence[Run]) -> str:
    """The rows: each run is one ``tbody`` of its figures and, in words beneath them, its caveats.

    Args:
        runs: what ``Comparison.to_plain()["runs"]`` holds.
    """
    columns = _columns(runs)
    return "\n".join(_body(run, columns) for run in runs)


def _body(run: Run, columns: Sequence[_Column]) -> str:
    cells = []
    for i, column in enumerate(columns):
        key = column.key(run)
        tag, attributes = ("td", f'class="{column.style}"') if i else ("th", 'scope="row"')
        data = "" if key is None or key == "" else f' data-key="{escaped(key)}"'
        cells.append(f"<{tag} {attributes}{data}>{column.show(run)}</{tag}>")
    caveats = "".join(f'<li class="caveat">{escaped(caveat)}</li>' for caveat in run.get("caveats", ()))
    notes = f'<tr class="notes"><td colspan="{len(columns)}"><ul>{caveats}</ul></td></tr>' if caveats else ""
    return f'<tbody><tr class="figures">{"".join(cells)}</tr>{notes}</tbody>'


def _run(run: Run) -> str:
    module, outcome = str(run.get("module") or "").rpartition(".")[2], run.get("outcome")
    small = [escaped(module)] if module and module != run["name"] else []
    small += [escaped(outcome)] if outcome and outcome != "completed" else []
    return _wrapped(name(run["name"]) + (f"<small>{', '.join(small)}</small>" if small else ""))


def _accuracy(run: Run, metrics: int) -> str:
    if run.get("accuracy") is None:
        return UNKNOWN
    figure = f"{run['accuracy']:.4f}"
    return f"{figure}<small>{_wrapped(name(run.get('accuracy_name') or 'unnamed'))}</small>" if metrics > 1 else figure


def _is_placed(run: Run) -> bool:
    """Whether the run can be on the front or dominated at all."""
    return run.get("accuracy") is not None and run.get("energy_kwh") is not None


def _front(run: Run) -> str:
    """With the sign that the chart has for it."""
    sign = "◆" if run.get("quality") == "estimated" else "●"
    return f"<b>{sign} front</b>" if run["on_front"] else UNKNOWN


def _wrapped(markup: str) -> str:
    """Text of any length, in a box that breaks it."""
    return f'<div class="wrap">{markup}</div>'


def _dominated(run: Run) -> int | None:
    return len(run.get("dominated_by", ())) if _is_placed(run) else None


def _dominators(run: Run) -> str:
    """The names of those that dominate it; failing these, of those that perhaps do."""
    sure = run.get("dominated_by", ())
    names = sure or run.get("perhaps_dominated_by", ())
    if not names:
        return UNKNOWN
    more = f" and&nbsp;{len(names) - DOMINATORS:,}&nbsp;more" if len(names) > DOMINATORS else ""
    return _wrapped(("" if sure else "perhaps ") + ", ".join(map(name, names[:DOMINATORS])) + more)


def _count(number: int) -> str:
    """Parameters as Lightning's model summary writes them: K, M, B, T."""
    size = min((len(str(number)) - 1) // 3, 4)
    return f"{number / 1000**size:.4g} {' KMBT'[size]}".strip()


class _Figures(NamedTuple):
    """The figures of one column: under one prefix where they are near enough to each other to be read so."""

    unit: str
    factor: float  # from what is given to the unit
    values: Sequence[float | None]

    def show(self, value: float | None, u: float | None = None) -> str:
        if value is None:
            return UNKNOWN
        prefix_factor, prefix = self._common() or scale(value * self.factor)
        ratio = self.factor / prefix_factor
        return f"{_plus_minus(value * ratio, None if u is None else u * ratio)} {prefix}{self.unit}"

    def _common(self) -> tuple[float, str] | None:
        known = [v * self.factor for v in self.values if v]
        if not known or max(known) > NEAR * min(known):
            return None
        common = scale(_middle(known) or 0.0)
        return common if max(known) < LARGE * common[0] else scale(max(known))


def _middle(values: Sequence[float | None]) -> float | None:
    """The middle of the range on a logarithmic axis."""
    known = [v for v in values if v]
    return math.sqrt(min(known)) * math.sqrt(max(known)) if known else None


def _plus_minus(value: float, u: float | None) -> str:
    """The uncertainty with two significant digits, the value with as many decimals; four digits without one.

    Example:
        >>> _plus_minus(12.3456, 0.0123), _plus_minus(12.3, None), _plus_minus(1234.5, 67.8), _plus_minus(2.0, 0.0)
        ('12.346 ± 0.012', '12.30', '1234 ± 68', '2.000 ± 0')
    """
    decimals = _decimals(u, 2) if u else _decimals(value, 4)
    shown = f"{value:.{decimals}f}"
    return shown if u is None else f"{shown} ± {u:.{decimals if u else 0}f}"


def _decimals(value: float, digits: int) -> int:
    """Decimals that show so many significant digits of a value; no more than any meter has."""
    return min(max(0, digits - 1 - math.floor(math.log10(abs(value)))), DECIMALS) if value else 0
