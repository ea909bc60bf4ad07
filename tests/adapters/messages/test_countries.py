"""Finding the code of a country that is given by a code or by a name in any language."""

import pytest

from adapters.messages.countries import country_code


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
        ("XKX", None, "XK"),
        ("XK", "Kosovo", "XK"),
        (None, "Republika e Kosovës", None),
        (None, "kosovo", "XK"),
        ("UK", None, "GB"),
        (None, "Côte d\u2019Ivoire", "CI"),
        (None, "Côte d\u02bcIvoire", "CI"),
        (None, "Cote d'Ivoire", "CI"),
        (None, "Spain - Canary Islands", None),
    ],
)
def test_a_country_by_its_code_or_its_name(iso: str | None, label: str | None, code: str | None) -> None:
    assert country_code(iso, label) == code


@pytest.mark.parametrize(
    ("iso", "label", "code"),
    [
        (None, "france (metropolitaine)", "FR"),
        (None, "Spain – Canary Islands", "ES"),
        ("ZZZ", None, "DE"),
        ("FRA", "Spain - Canary Islands", "ES"),
        (None, "Portugal", "PT"),
        (None, None, None),
    ],
)
def test_a_shop_names_the_countries_that_no_table_knows(iso: str | None, label: str | None, code: str | None) -> None:
    names = {"France (métropolitaine)": "FR", "Spain - Canary Islands": "ES", "ZZZ": "DE"}
    assert country_code(iso, label, names) == code
