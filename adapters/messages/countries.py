"""Find a country's alpha-2 code, which KornitX needs. Mirakl gives an alpha-3 code, or a label in any language."""

import unicodedata
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from gettext import GNUTranslations
from pathlib import Path
from typing import Any, Final

import pycountry

#: Labels that Mirakl sends, and that neither ISO 3166 nor its translations contain.
_OTHER_NAMES: Final = {
    "UK": "GB",
    "Great Britain": "GB",
    "England": "GB",
    "Scotland": "GB",
    "Wales": "GB",
    "Republic of Ireland": "IE",
    "Kosovo": "XK",
    "Republic of Kosovo": "XK",
    "Kosova": "XK",
    "Косово": "XK",
    "The Netherlands": "NL",
    "Turkey": "TR",
    "Россия": "RU",
}


#: Codes that are in use and that ISO 3166-1 has not assigned: Kosovo's, and the common form of GB.
_OTHER_CODES: Final = {"XK": "XK", "XKX": "XK", "UK": "GB"}


def country_code(iso: str | None, label: str | None, shop_names: Mapping[str, str] | None = None) -> str | None:
    """Find a country's ISO 3166-1 alpha-2 code: by its alpha-3 or alpha-2 code, or else by its name in any language.

    `shop_names` are the shop's own names or codes of countries, each with the alpha-2 code. They come first. None if
    the country is unknown, or if several countries have this name.
    """
    if shop_names and (code := _by_shop_name(iso or "", shop_names) or _by_shop_name(label or "", shop_names)):
        return code
    return _code_of(iso or "", label or "")


@lru_cache(maxsize=4096)  # of each read of each order; strangers choose the texts
def _code_of(iso: str, label: str) -> str | None:
    return _by_code(iso) or _by_code(label) or _codes_by_name().get(_plain(label))


def _by_shop_name(name: str, shop_names: Mapping[str, str]) -> str | None:
    wanted = _plain(name)
    return next((code for known, code in shop_names.items() if wanted and _plain(known) == wanted), None)


def _by_code(code: str) -> str | None:
    code = code.strip().upper()
    if len(code) not in (2, 3) or not (code.isascii() and code.isalpha()):
        return None
    if code in _OTHER_CODES:
        return _OTHER_CODES[code]
    countries = pycountry.countries
    country = countries.get(alpha_2=code) if len(code) == 2 else countries.get(alpha_3=code)
    return str(country.alpha_2) if country else None


def _plain(name: str) -> str:
    """`name` in lower case, without accents, blanks and punctuation. Vowel signs of other scripts stay.

    Letters that print as an apostrophe are left out too, such as that of "Côte d\u02bcIvoire".
    """
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(
        c for c in letters if not "\u02b9" <= c <= "\u036f" and unicodedata.category(c)[0] in _LETTERS_MARKS_NUMBERS
    )


_LETTERS_MARKS_NUMBERS: Final = "LMN"


@cache
def _codes_by_name() -> Mapping[str, str]:
    """The alpha-2 code for each name of a country, as `_plain` writes it.

    Building it takes 0.3 s and some megabytes. So it is built when the first order without a known country code comes.
    """
    english = [(name, country.alpha_2) for country in pycountry.countries for name in _names(country)]
    translated = [
        (translation.gettext(name), code)
        for translation in map(_translation, sorted(Path(pycountry.LOCALES_DIR).iterdir()))
        if translation
        for name, code in english
    ]
    # English names come after the translations and replace them, because some translations are wrong ("Mexico" for
    # Malaysia).
    return _unambiguous(translated) | _unambiguous(english) | _unambiguous(_OTHER_NAMES.items())


def _names(country: Any) -> list[str]:
    names = (getattr(country, field, None) for field in ("name", "official_name", "common_name"))
    return [name for name in names if name]


def _translation(locale: Path) -> GNUTranslations | None:
    catalog = locale / "LC_MESSAGES" / "iso3166-1.mo"
    if not catalog.is_file():
        return None
    with catalog.open("rb") as file:  # gettext.translation() would keep every catalog in memory
        return GNUTranslations(file)


def _unambiguous(names: Collection[tuple[str, str]]) -> dict[str, str]:
    codes: dict[str, set[str]] = {}
    for name, code in names:
        codes.setdefault(_plain(name), set()).add(code)
    return {name: min(found) for name, found in codes.items() if len(found) == 1 and name}
