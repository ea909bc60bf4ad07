"""Amounts of money in KornitX's form: net and gross, and the rate of the tax (docs/kornitx.md 10).

Mirakl gives either net or gross, which depends on the order's tax mode. This amount goes out as it is. The other one is
computed from the taxes that Mirakl names. If it cannot be computed exactly, it is left out, because a rounded amount
could be wrong by a cent.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, localcontext
from typing import Any, Final

Amount = Decimal | int
Fields = Mapping[str, Any]

TAX_INCLUDED: Final = "TAX_INCLUDED"
TAX_EXCLUDED: Final = "TAX_EXCLUDED"

#: A result with more digits than this, such as that of 1 / 3, is an error.
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation, Overflow])
#: Decimal() also takes "1_000" and digits of other scripts, which are no amounts.
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Prices:
    """Reads the prices of one order. An order is not imported without its price. So `missing` gets the name of each
    field whose value is not a price, such as "7,82" or -5, and of each unit price that is not there.

    A shipping price that is not there is left out (docs/kornitx.md 10)."""

    def __init__(self, tax_mode: str, missing: list[str]) -> None:
        self._gives_gross = tax_mode != TAX_EXCLUDED
        self._missing = missing

    def amount(self, fields: Fields, field: str, at: str = "") -> Amount | None:
        """The amount in this field. None if there is none."""
        value = fields.get(field)
        if value is None or value == "":
            return None
        amount = _amount(value)
        if amount is None:
            self._missing.append(f"{at}{field} (not a number)")
        elif amount < 0:
            self._missing.append(f"{at}{field} (negative)")
        return amount

    def of_line(self, line: Fields, at: str) -> dict[str, Amount | None]:
        """The unit price and the rate of the tax of a line, as fields of KornitX's item."""
        unit = self.amount(line, "price_unit", at)
        if line.get("price_unit") in (None, ""):  # Mirakl gives each line a price (docs/mirakl.md 5.2)
            self._missing.append(f"{at}price_unit")
        other = _exactly(lambda: self._other_unit(line)) if unit is not None else None
        return {**self._both("unit_sale_price", unit, other), "sale_vat_rate": _rate(line.get("taxes"))}

    def of_shipping(self, order: Fields, lines: Sequence[tuple[str, Fields]], *, is_whole: bool) -> dict[str, Any]:
        """The shipping price of these lines, as fields of KornitX's order.

        `lines`: each line with the path of its fields, such as `order_lines[0].`, by which `missing` names them.
        `is_whole`: these are all lines of the order. Then the order's own shipping price is used, if Mirakl gives one.
        Otherwise the prices of the lines are added.
        """
        of_order = self.amount(order, "shipping_price")
        found = [self.amount(line, "shipping_price", at) for at, line in lines]
        of_lines = _exactly(lambda: _sum(found))
        given = of_order if is_whole and of_order is not None else of_lines
        if given is None or of_lines != given:  # no price, or not the sum: whose taxes are they?
            return self._both("shipping_price", given, None)
        taxes = [_tax(line.get("shipping_taxes"), price) for (_, line), price in zip(lines, found, strict=True)]
        return self._both("shipping_price", given, _exactly(lambda: self._with_tax(given, _sum(taxes))))

    def _other_unit(self, line: Fields) -> Amount:
        """The unit price in the other tax mode. Mirakl gives the taxes of the whole line, not of one piece."""
        unit, pieces = Decimal(_needed(line.get("price_unit"))), Decimal(_needed(line.get("quantity")))
        if _amount(line.get("price")) not in (None, unit * pieces):
            raise InvalidOperation  # then it is not known to which amount the taxes belong
        return Decimal(self._with_tax(unit * pieces, _tax(line.get("taxes"), unit))) / pieces

    def _with_tax(self, price: Amount, tax: Amount | None) -> Amount:
        """The amount in the other tax mode. The difference is the tax."""
        return price - _needed(tax) if self._gives_gross else price + _needed(tax)

    def _both(self, name: str, given: Amount | None, other: Amount | None) -> dict[str, Amount | None]:
        net, gross = (other, given) if self._gives_gross else (given, other)
        return {name: net, f"{name}_inc_tax": gross}


def _amount(value: object) -> Amount | None:
    """`value` as an amount of money. Mirakl's samples have numbers and texts (docs/mirakl.md 2.1)."""
    amount = Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else value
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or not Decimal(amount).is_finite():
        return None
    return amount


def _needed(value: object) -> Amount:
    """`value` as an amount. Raises InvalidOperation if it is none."""
    amount = _amount(value)
    if amount is None:
        raise InvalidOperation
    return amount


def _sum(amounts: Sequence[object]) -> Amount:
    """The sum of one amount or more, with every digit. Raises ArithmeticError, also if an amount is missing."""
    total = _needed(amounts[0] if amounts else None)
    for one in amounts[1:]:
        total += _needed(one)
    return total


def _tax(taxes: object, price: Amount | None) -> Amount | None:
    """The sum of the taxes in this list. If Mirakl names none, 0 for a price of 0, and None for any other price.

    None means that the tax is not known: many marketplaces leave the taxes to the seller. A negative tax is no tax:
    with it the net price would be above the gross price.
    """
    named = taxes if isinstance(taxes, list) else []
    if not named:
        return 0 if price == 0 else None
    found = [_amount(one.get("amount")) if isinstance(one, dict) else None for one in named]
    if any(one is not None and one < 0 for one in found):
        return None
    return _exactly(lambda: _sum(found))


def _rate(taxes: object) -> Decimal | None:
    """The rate as a fraction. None for several taxes, because they may build on each other."""
    one = taxes[0] if isinstance(taxes, list) and len(taxes) == 1 else None
    rate = one.get("rate") if isinstance(one, dict) else None
    found = _exactly(lambda: Decimal(_needed(rate)) / 100)
    return None if found is None else Decimal(found)


def _exactly(compute: Callable[[], Amount]) -> Amount | None:
    """The result of `compute`. None if an amount is missing, or if the result cannot be written exactly."""
    with localcontext(_EXACT):
        try:
            return compute()
        except ArithmeticError:
            return None
