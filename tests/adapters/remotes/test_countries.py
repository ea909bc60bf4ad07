"""Finding the code of a country that is given by a code or by a name in any language."""

import pytest

from adapters.remotes.countries import country_code


@pytest.mark.parametrize(
    ("iso", "label", "code"),
    [
        ("PRT", None, "PT"),
        ("prt ", "Spain", "PT"),
        ("PT", None, "PT"),
        (None, "ESPAñA", "ES"),
        ("", "United Kingdom", "GB"),
        ("ZZZ", "Deutschland", "DE"),
        (None, "SUISSE", "CH"),
        (None, "Česko", "CZ"),
        (None, "日本", "JP"),
        (None, "UK", "GB"),
        (None, "ITA", "IT"),
        (None, "Mexico", "MX"),
        (None, "Guinea", "GN"),
        ("AUT", None, "AT"),
        (None, "Portugalx", None),
        ("ESX", None, None),
        ("PORTUGAL", None, None),
        (None, "011", None),
        (None, "Korea", None),
        (None, None, None),
        ("", " ", None),
    ],
)
def test_a_country_by_its_code_or_its_name(iso: str | None, label: str | None, code: str | None) -> None:
    assert country_code(iso, label) == code
