"""From joules to grams of CO2e and to money: *derived* figures, only as good as the inputs that stand beside them.

    CO2e[g] = E[kWh] * PUE * intensity[g/kWh]          cost = E[kWh] * PUE * price per kWh

E is the energy of the devices that were measured ("IT energy"); PUE is that of ISO/IEC 30134-2, the energy of the whole
facility divided by that of its IT. Nothing here asks a network.
"""

from __future__ import annotations

import csv
import difflib
import math
from dataclasses import asdict, dataclass, fields
from importlib import resources
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_energy.curves.energy import Energy

__all__ = ["Conversion", "Derived", "Intensity", "find_intensity", "read_table"]

TABLE = "carbon_intensity.csv"
SOURCE = "Ember, Our World in Data, CC BY 4.0"
GIVEN = "given by the user"
LEAST_G_PER_KWH = 1.0
"""The least plausible intensity: wind and water power have medians of 11 and 24 g/kWh over their life cycle (IPCC AR5
WG3, annex III), so a smaller number is in kilograms."""


@dataclass(frozen=True)
class Intensity:
    """The CO2e that a kWh of electricity causes.

    Attributes:
        g_per_kwh: grams of CO2e per kWh.
        region: the country's code in ISO 3166-1 alpha-3; ``None`` when a number was given.
        source: where the number is from.
        year: the year that it is of; ``None`` when a number was given.
    """

    g_per_kwh: float
    region: str | None = None
    source: str = GIVEN
    year: int | None = None


@dataclass(frozen=True)
class Derived:
    """CO2e and cost of an energy, with the inputs that they were computed from.

    Attributes:
        carbon_intensity_g_per_kwh: the intensity; ``None`` when none was given.
        region: its country (ISO 3166-1 alpha-3), if it is from the table.
        source: where it is from.
        year: the year that it is of.
        pue: the power usage effectiveness; 1 is IT energy only.
        price_per_kwh: the price, in the user's currency; ``None`` when none was given.
        facility_kwh: energy times PUE; ``None`` while the energy is not known, as for all that follow.
        co2eq_g: grams of CO2e.
        co2eq_u_g: their standard uncertainty (k=1) from the energy alone. The intensity's own, for a yearly mean of a
            country often tens of percent, is not in it.
        cost: energy times PUE times price, in the currency of the price.
        cost_u: its standard uncertainty (k=1) from the energy.
    """

    carbon_intensity_g_per_kwh: float | None
    region: str | None
    source: str | None
    year: int | None
    pue: float
    price_per_kwh: float | None
    facility_kwh: float | None
    co2eq_g: float | None
    co2eq_u_g: float | None
    cost: float | None
    cost_u: float | None

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, row: Mapping[str, Any]) -> Derived:
        """The opposite of :meth:`to_plain`; other keys are ignored."""
        return cls(**{f.name: row[f.name] for f in fields(cls)})

    def of(self, energy: Energy) -> Derived:
        """The same inputs on another energy."""
        return self.conversion.derive(energy)

    @property
    def conversion(self) -> Conversion:
        """The inputs."""
        g_per_kwh = self.carbon_intensity_g_per_kwh
        intensity = None if g_per_kwh is None else Intensity(g_per_kwh, self.region, self.source or GIVEN, self.year)
        return Conversion(intensity, self.pue, self.price_per_kwh)


@dataclass(frozen=True)
class Conversion:
    """The inputs that turn energy into CO2e and money.

    Attributes:
        intensity: that of the electricity; ``None`` when none was given.
        pue: power usage effectiveness, from 1 on.
        price_per_kwh: the price, in the user's currency; ``None`` when none was given.

    Example:
        >>> conversion = Conversion.of("DEU", pue=1.2)
        >>> conversion.co2eq_g(2.0) == 2.0 * 1.2 * 380.95
        True
    """

    intensity: Intensity | None = None
    pue: float = 1.0
    price_per_kwh: float | None = None

    @classmethod
    def of(
        cls, carbon_intensity: float | str | None = None, pue: float = 1.0, price: float | None = None
    ) -> Conversion | None:
        """Check the inputs; ``None`` when nothing is asked for.

        Args:
            carbon_intensity: g/kWh, or a country's code; see :func:`find_intensity`.
            pue: power usage effectiveness.
            price: per kWh.

        Raises:
            TypeError: an input has the wrong type.
            ValueError: an input has an impossible value, or the country is not in the table.
        """
        intensity = None if carbon_intensity is None else find_intensity(carbon_intensity)
        if not _number("pue", pue, "a number from 1 on: the facility's energy divided by that of its IT") >= 1:
            raise ValueError(f"pue={pue!r}: give a number from 1 on (1 is IT energy only, 1.54 the mean of 2025)")
        of_price = "a number from 0 on: the price of a kWh in your currency, or None"
        if price is not None and not _number("price", price, of_price) >= 0:
            raise ValueError(f"price={price!r}: give the price of a kWh from 0 on")
        if intensity is None and price is None and pue == 1:
            return None
        return cls(intensity, float(pue), None if price is None else float(price))

    def facility_kwh(self, energy_kwh: float) -> float:
        """Energy of the facility for so much energy of its IT, in kWh."""
        return energy_kwh * self.pue

    def co2eq_g(self, energy_kwh: float) -> float | None:
        """Grams of CO2e of so many kWh (IT)."""
        return None if self.intensity is None else self.facility_kwh(energy_kwh) * self.intensity.g_per_kwh

    def cost(self, energy_kwh: float) -> float | None:
        """Price of so many kWh (IT)."""
        return None if self.price_per_kwh is None else self.facility_kwh(energy_kwh) * self.price_per_kwh

    def row(self, energy_kwh: float | None) -> dict[str, float | None]:
        """``co2eq_g`` and ``cost`` of so many kWh (IT), if asked for; ``None`` while the energy is unknown."""
        wanted = {"co2eq_g": self.intensity and self.co2eq_g, "cost": self.price_per_kwh is not None and self.cost}
        return {name: None if energy_kwh is None else of(energy_kwh) for name, of in wanted.items() if of}

    def derive(self, energy: Energy) -> Derived:
        """All of it for an energy. Joules that are missing there are missing here."""
        intensity, kwh, u_kwh = self.intensity, energy.energy_kwh, energy.u_absolute_j / J_PER_KWH
        known = kwh is not None
        return Derived(
            carbon_intensity_g_per_kwh=intensity.g_per_kwh if intensity else None,
            region=intensity.region if intensity else None,
            source=intensity.source if intensity else None,
            year=intensity.year if intensity else None,
            pue=self.pue,
            price_per_kwh=self.price_per_kwh,
            facility_kwh=None if kwh is None else self.facility_kwh(kwh),
            co2eq_g=None if kwh is None else self.co2eq_g(kwh),
            co2eq_u_g=self.co2eq_g(u_kwh) if known else None,
            cost=None if kwh is None else self.cost(kwh),
            cost_u=self.cost(u_kwh) if known else None,
        )


def find_intensity(value: float | str) -> Intensity:
    """The intensity that a user means.

    Args:
        value: g/kWh as a number or its text, or the code of a country in ISO 3166-1 alpha-2 or alpha-3, upper or
            lower case. Its value is from the table that is shipped: Ember's yearly life-cycle mean of generation,
            processed by Our World in Data (CC BY 4.0), 2023 or the last year before; see ``carbon_intensity.csv``.

    Raises:
        TypeError: it is neither a number nor a text.
        ValueError: it is no possible number, or no country of the table; the text names similar ones.

    Example:
        >>> find_intensity("de").g_per_kwh
        380.95
        >>> find_intensity("UK")
        Traceback (most recent call last):
        ...
        ValueError: carbon_intensity='UK': no such country in the table. Did you mean GBR (United Kingdom), ...
    """
    if value is False:  # YAML 1.1
        raise TypeError("carbon_intensity=False: YAML reads NO as false. Write 'NO' in quotes, or NOR, for Norway")
    given: Any = value
    if isinstance(value, str):
        try:
            given = float(value)
        except ValueError:
            return _of_country(value)
    number = _number("carbon_intensity", given, "g CO2e per kWh, or the code of a country such as 'DEU'")
    if not number >= LEAST_G_PER_KWH:
        raise ValueError(
            f"carbon_intensity={value!r}: give grams of CO2e per kWh from {LEAST_G_PER_KWH:g} on (381, not 0.381)"
        )
    return Intensity(float(number))


def read_table() -> dict[str, dict[str, str]]:
    """The shipped table, by ISO 3166-1 alpha-3: ``alpha3``, ``alpha2``, ``country``, ``year``, ``g_per_kwh``."""
    text = resources.files(__package__).joinpath(TABLE).read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["alpha3"]: row for row in rows}


def _of_country(text: str) -> Intensity:
    table = read_table()
    code = text.strip().upper()
    for row in table.values():
        if code in {row["alpha3"], row["alpha2"]}:
            return Intensity(float(row["g_per_kwh"]), row["alpha3"], SOURCE, int(row["year"]))
    near = ", ".join(f"{row['alpha3']} ({row['country']})" for row in _near(code, table))
    advice = f"Did you mean {near}?" if near else "Nothing there is similar."
    raise ValueError(
        f"carbon_intensity={text!r}: no such country in the table. {advice} Give a code of ISO 3166-1, or g/kWh as a "
        f"number"
    )


def _near(code: str, table: Mapping[str, Mapping[str, str]], most: int = 4) -> list[Mapping[str, str]]:
    """Rows with initials, a name or a code like ``code``."""

    def likeness(row: Mapping[str, str]) -> float:
        name = row["country"].upper()
        if code == "".join(word[0] for word in name.split()):  # UK
            return 2.0
        if len(code) > 1 and (name.startswith(code) or (len(code) > 3 and code in name)):  # noqa: PLR2004 - no code
            return 1.0 + len(code) / len(name) / 2
        return max(difflib.SequenceMatcher(None, code, known).ratio() for known in (row["alpha3"], name))

    ranked = sorted(table.values(), key=likeness, reverse=True)
    return [row for row in ranked[:most] if likeness(row) >= 0.6]  # noqa: PLR2004 - difflib's own idea of a close match


def _number(name: str, value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}={value!r}: give {what}")
    if not math.isfinite(value):
        raise ValueError(f"{name}={value!r}: give a finite number ({what})")
    return value
