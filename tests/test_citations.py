"""Each citation leads to a heading of a page in docs, and nothing in the repository cites a page outside it.

A citation names a page and the numbers of headings there, as docs/rules.md 16, 17 or docs/mirakl.md 2.3 to 2.5.
Documents may link instead, as [rule 16](rules.md). The three pages cite themselves: "rule 16" in rules.md, and
"section 5.2" in the other two.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("rules", "mirakl", "kornitx")

#: Tests that read files outside the repository, and are skipped if these are absent. No other file may name them.
READERS_OF_SHARED = frozenset(
    {
        "tests/adapters/simulators/mirakl/test_contract.py",
        "tests/adapters/messages/test_contract.py",
        "tests/adapters/remotes/test_mirakl.py",
        "tests/adapters/remotes/test_mirakl_messages.py",
        "tests/adapters/remotes/test_kornitx_order.py",
        "tests/adapters/messages/test_or11_fields.py",
        "tests/adapters/messages/test_snapshots.py",
        "tests/system/test_real_input.py",
    }
)

_FOLDERS = ("adapters", "consumer", "docs", "k8s", "statemachine", "tests")
_SUFFIXES = frozenset({"", ".py", ".md", ".toml", ".json", ".ini", ".mako", ".txt", ".yaml", ".yml"})
_NOT_OURS = frozenset({"node_modules", "package-lock.json", "test_citations.py"})

_NUMBER = r"\d+(?:\.\d+)?"
_NUMBERS = rf"{_NUMBER}(?:(?:,| and|, and| to) {_NUMBER})*"
_CITATION = re.compile(rf"docs/({'|'.join(PAGES)})\.md ({_NUMBERS})")
#: In documents: [rule 16](rules.md), [section 5.2](mirakl.md).
_LINK = re.compile(rf"\[(?:[Rr]ule|[Ss]ection)s? ({_NUMBERS})\]\((?:\.\./|docs/)*({'|'.join(PAGES)})\.md")
#: How a page cites itself.
_OF_ITSELF = {
    "rules": re.compile(rf"\b[Rr]ules? ({_NUMBERS})"),
    "mirakl": re.compile(rf"\b[Ss]ections? ({_NUMBERS})"),
    "kornitx": re.compile(rf"\b[Ss]ections? ({_NUMBERS})"),
}
_HEADING = re.compile(rf"^#{{2,6}} ({_NUMBER})\.? ", re.MULTILINE)
#: A page that code or a document names.
_PAGE = re.compile(r"\bdocs/[\w/.-]+\.(?:md|json)\b")

#: Pages that are not in the repository, and numbers without the name of their page.
_OUTSIDE = re.compile(
    r"mirakl-api|oms-api|protocol-rules|style-models|order-situations|(?:house|hardening|design)\.md"
    r"|kafka/README|\b(?:design|operations)(?: section)? \d"
)
_SHARED = re.compile(r"\.\./shared|[\"']shared[\"']|\bshared/|\bshared \w+/")
_RULE_WITHOUT_PAGE = re.compile(r"\b[Rr]ules? \d+(?![^\[\]]*\]\((?:\.\./|docs/)*rules\.md)")
_SECTION_WITHOUT_PAGE = re.compile(rf"(?<=\s)\([1-9]\d?\.\d{{1,2}}(?:(?:,| and| to) {_NUMBER})*\)")


def headings_of(page: str) -> frozenset[str]:
    """The numbers of the headings of a Markdown page."""
    return frozenset(_HEADING.findall(page))


def unresolved(text: str, headings: Mapping[str, Collection[str]], page: str = "") -> list[str]:
    """The citations in `text` without a heading. `page` is the name of `text`, if it is one of the three pages."""
    flat = _flat(text)
    cited = _CITATION.findall(flat) + [(name, numbers) for numbers, name in _LINK.findall(flat)]
    if page:
        cited += [(page, numbers) for numbers in _OF_ITSELF[page].findall(flat)]
    return [f"{name} {one}" for name, numbers in cited for one in expanded(numbers) if one not in headings[name]]


def expanded(numbers: str) -> list[str]:
    """Each number of a list. A range stands for all numbers in it: "2.3 to 2.5" for 2.3, 2.4 and 2.5."""
    found: list[str] = []
    for to, number in re.findall(rf"( to )?({_NUMBER})", numbers):
        first, last = (found[-1] if to else number).rpartition("."), number.rpartition(".")
        if first[:2] == last[:2]:
            start = int(first[2]) + (1 if to else 0)
            found += [f"{''.join(last[:2])}{between}" for between in range(start, int(last[2]) + 1)]
        else:
            found.append(number)
    return found


def citations_of_outside(text: str, *, page: str = "", python: bool = False, reads_shared: bool = False) -> list[str]:
    """Where `text` names a page that is not in the repository, or cites a number without naming its page."""
    patterns = [_OUTSIDE]
    patterns += [] if reads_shared else [_SHARED]
    patterns += [] if page == "rules" else [_RULE_WITHOUT_PAGE]
    patterns += [_SECTION_WITHOUT_PAGE] if python else []
    flat = _flat(text)
    return [match.group() for pattern in patterns for match in pattern.finditer(flat)]


def _flat(text: str) -> str:
    """Lines of a paragraph, a comment or a docstring joined: a citation may be broken at the end of a line."""
    return re.sub(r"[ \t]*\n[ \t]*(?:#:? )?(?=\S)", " ", text)


def _files() -> Iterator[tuple[str, str]]:
    """Path and text of every text file of the repository."""
    below = (path for folder in _FOLDERS for path in (ROOT / folder).rglob("*"))
    for path in sorted([*ROOT.iterdir(), *below]):
        if path.is_file() and path.suffix in _SUFFIXES and not _NOT_OURS & set(path.parts) and path.name[0] != ".":
            yield path.relative_to(ROOT).as_posix(), path.read_text()


FILES = dict(_files())
HEADINGS = {name: headings_of(FILES[f"docs/{name}.md"]) for name in PAGES}


def page_of(path: str) -> str:
    return next((name for name in PAGES if path == f"docs/{name}.md"), "")


def test_every_citation_leads_to_a_heading() -> None:
    found = [f"{path}: {one}" for path, text in FILES.items() for one in unresolved(text, HEADINGS, page_of(path))]
    assert not found, "\n".join(found)


def test_nothing_cites_a_page_outside_the_repository() -> None:
    found = [
        f"{path}: {one}"
        for path, text in FILES.items()
        for one in citations_of_outside(
            text, page=page_of(path), python=path.endswith(".py"), reads_shared=path in READERS_OF_SHARED
        )
    ]
    assert not found, "\n".join(found)


def test_every_page_that_is_named_exists() -> None:
    named = sorted({(path, page) for path, text in FILES.items() for page in _PAGE.findall(text)})
    found = [f"{path}: {page}" for path, page in named if not (ROOT / page).exists()]
    assert not found, "\n".join(found)


def test_the_tests_that_read_files_beside_the_repository_are_those_that_are_named() -> None:
    assert {path for path in FILES if path.startswith("tests/") and _SHARED.search(FILES[path])} == READERS_OF_SHARED


def test_the_repository_cites_each_of_the_pages() -> None:
    """If the pattern found no citation any more, the tests above would pass without checking anything."""
    code = " ".join(text for path, text in FILES.items() if path.endswith(".py"))
    assert {name for name, _ in _CITATION.findall(code)} == set(PAGES)


# -- The functions above ---------------------------------------------------------------------------------------------

SOME = {"rules": ("16", "17"), "mirakl": ("2", "2.3", "2.4", "5.2"), "kornitx": ("9.4",)}


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("a read proves it (docs/rules.md 16).", []),
        ("docs/rules.md 16, 17", []),
        ("docs/rules.md 16 and 17; docs/kornitx.md 9.4's table", []),
        ("docs/mirakl.md 2.3 to 2.4, 5.2", []),
        ("docs/mirakl.md 5.2, docs/kornitx.md 9.4", []),
        ("the page docs/rules.md has no number", []),
        ("docs/rules.md 18", ["rules 18"]),
        ("docs/rules.md 16, 18", ["rules 18"]),
        ("docs/rules.md 16 and 99", ["rules 99"]),
        ("docs/rules.md 15 to 18", ["rules 15", "rules 18"]),
        ("docs/mirakl.md 2.3 to 2.5", ["mirakl 2.5"]),
        ("docs/mirakl.md 5", ["mirakl 5"]),
        ("docs/mirakl.md 16", ["mirakl 16"]),
        ("([rules 16 and 18](rules.md)), [section 5.3](../docs/mirakl.md#53)", ["rules 18", "mirakl 5.3"]),
        ("[docs/rules.md 34](docs/rules.md)", ["rules 34"]),
        ("docs/kornitx.md 9.4.", []),
        ("docs/kornitx.md 9.5.", ["kornitx 9.5"]),
        ('"""Broken over two lines (docs/rules.md\n    18)."""', ["rules 18"]),
        ("# broken over two lines (docs/kornitx.md\n# 9.5)", ["kornitx 9.5"]),
    ],
)
def test_a_citation_without_a_heading_is_found(text: str, broken: list[str]) -> None:
    assert unresolved(text, SOME) == broken


@pytest.mark.parametrize(
    ("page", "text", "broken"),
    [
        ("rules", "as rule 16 says, and rules 17 and 18", ["rules 18"]),
        ("rules", "Rule 6 is derived", ["rules 6"]),
        ("mirakl", "see section 5.2 and Section 5.3", ["mirakl 5.3"]),
        ("kornitx", "sections 9.4, 9.5", ["kornitx 9.5"]),
        ("", "see section 99 and rule 99", []),
    ],
)
def test_a_page_cites_itself_by_number_alone(page: str, text: str, broken: list[str]) -> None:
    assert unresolved(text, SOME, page) == broken


@pytest.mark.parametrize(
    ("numbers", "each"),
    [
        ("16", ["16"]),
        ("2.3 to 2.5", ["2.3", "2.4", "2.5"]),
        ("2 to 4, 9", ["2", "3", "4", "9"]),
        ("5.9 to 6.1", ["5.9", "6.1"]),
        ("16 and 17", ["16", "17"]),
        ("1, 2, and 5.10", ["1", "2", "5.10"]),
    ],
)
def test_a_list_of_numbers_is_read_number_by_number(numbers: str, each: list[str]) -> None:
    assert expanded(numbers) == each


def test_headings_are_known_by_their_number() -> None:
    page = "# Title 1\n## 5. Operations\n### 5.10 M10, M11\n#### The order\n## 16. A 204 is no proof\ntext ## 7. no\n"
    assert headings_of(page) == {"5", "5.10", "16"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(mirakl-api 5.2)", ["mirakl-api"]),
        ("as oms-api says", ["oms-api"]),
        ("(protocol-rules.md, rule 1)", ["protocol-rules", "rule 1"]),
        ("(style-models 2, shared kafka/README)", ["style-models", "kafka/README", "shared kafka/"]),
        ("(design 9) and design section 9", ["design 9", "design section 9"]),
        ("(operations 1.1, 1.2), docs/operations.md", ["operations 1"]),
        ("rules 16, 17; [a link](rules.md)", ["rules 16"]),
        ("[rule 16](rules.md) and [rules 16 and 17](docs/rules.md#a)", []),
        ('root / "shared" / "mirakl"; ../shared', ['"shared"', "../shared"]),
        ("# the lines that still count (4.5)", ["(4.5)"]),
        ("the design of a store; two operations; rules of the house; a shared row (docs/rules.md 16)", []),
        ("yield stage.pause(1.5)", []),
    ],
)
def test_a_citation_of_a_page_outside_is_found(text: str, found: list[str]) -> None:
    assert sorted(citations_of_outside(text, python=True)) == sorted(found)


def test_a_test_that_reads_files_beside_the_repository_may_name_them() -> None:
    assert citations_of_outside('parents[2] / "shared" / "mirakl"', python=True, reads_shared=True) == []
