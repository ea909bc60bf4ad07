"""Countries: Mirakl says alpha-3 or a label in some language, KornitX wants alpha-2."""

import unicodedata
from collections.abc import Collection, Mapping
from functools import cache
from gettext import GNUTranslations
from pathlib import Path
from typing import Any, Final

import pycountry

# -- Countries: Mirakl says alpha-3 or just a label in some language, KornitX wants alpha-2 ----------------------

#: Labels that shops meet and that neither ISO nor its translations hold.
_OTHER_NAMES: Final = {
    "UK": "GB",
    "Great Britain": "GB",
    "England": "GB",
    "Scotland": "GB",
    "Wales": "GB",
    "Republic of Ireland": "IE",
    "The Netherlands": "NL",
    "Turkey": "TR",
    "Россия": "RU",
}


def country_code(iso: str | None, label: str | None) -> str | None:
    """ISO 3166-1 alpha-2 of a country given by code (alpha-3 or -2), or else by its name in any language.

    None for what is unknown or ambiguous: nothing is ever cut to two letters.
    """
    return _by_code(iso or "") or _by_code(label or "") or _codes_by_name().get(_plain(label or ""))


def _by_code(code: str) -> str | None:
    code = code.strip().upper()
    if len(code) not in (2, 3) or not (code.isascii() and code.isalpha()):
        return None
    countries = pycountry.countries
    country = countries.get(alpha_2=code) if len(code) == 2 else countries.get(alpha_3=code)
    return str(country.alpha_2) if country else None


def _plain(name: str) -> str:
    """Folded for comparison: case, accents, blanks and punctuation do not count; vowel signs of other scripts do."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in letters if not "\u0300" <= c <= "\u036f" and (c.isalnum() or c >= "\u0370"))


@cache
def _codes_by_name() -> Mapping[str, str]:
    """Built once, when the first order comes without a code: a third of a second, some megabytes."""
    english = [(name, country.alpha_2) for country in pycountry.countries for name in _names(country)]
    translated = [
        (translation.gettext(name), code)
        for translation in map(_translation, sorted(Path(pycountry.LOCALES_DIR).iterdir()))
        if translation
        for name, code in english
    ]
    # English last: some translations are wrong ("Mexico" for Malaysia), and must not make a plain name ambiguous.
    return _unambiguous(translated) | _unambiguous(english) | _unambiguous(_OTHER_NAMES.items())


def _names(country: Any) -> list[str]:
    names = (getattr(country, field, None) for field in ("name", "official_name", "common_name"))
    return [name for name in names if name]


def _translation(locale: Path) -> GNUTranslations | None:
    catalog = locale / "LC_MESSAGES" / "iso3166-1.mo"
    if not catalog.is_file():
        return None
    with catalog.open("rb") as file:  # not gettext.translation(): that keeps every catalog for ever
        return GNUTranslations(file)


def _unambiguous(names: Collection[tuple[str, str]]) -> dict[str, str]:
    codes: dict[str, set[str]] = {}
    for name, code in names:
        codes.setdefault(_plain(name), set()).add(code)
    return {name: min(found) for name, found in codes.items() if len(found) == 1 and name}
