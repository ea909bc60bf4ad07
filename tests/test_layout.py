"""The layout that CONTRIBUTING.md promises: small files and classes, packages that say what they are, and no use of
another package's private names."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST_FILE: Final = 500  # lines
LONGEST_CLASS: Final = 300
#: Classes that are one thing although they are longer, each with its reason.
LONGER_CLASSES: Final = {
    "MiraklSimulator": "one simulated marketplace has one state, and everything that can be done to it",
}
#: Packages whose modules may use each other's private names: a module in none of them is a package by itself.
PACKAGES: Final = (
    "statemachine.questions",
    "statemachine.attention",
    "statemachine",
    "adapters.messages",
    "adapters.store",
    "adapters.log",
    "adapters.remotes",
    "adapters.engines",
    "adapters.simulators",
    "adapters",
    "consumer.metrics",
    "consumer.web",
    "consumer.operations",
    "consumer.cli",
    "consumer.demo",
    "consumer.polling",
    "consumer.applying",
    "consumer.calling",
    "consumer.housekeeping",
    "consumer.config",
    "consumer",
    "tests",
)


def package_of(module: str) -> str:
    """The first of PACKAGES that the module is in; empty for a library's module."""
    return next((name for name in PACKAGES if f"{module}.".startswith(f"{name}.")), "")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file, parsed."""

    module: str
    text: str

    @property
    def package(self) -> str:
        return package_of(self.module)

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def _module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _sources(*folders: str) -> list[Source]:
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [Source(_module_of(path), path.read_text(encoding="utf-8")) for path in paths]


PRODUCT: Final = _sources("statemachine", "adapters", "consumer")
TESTS: Final = _sources("tests")


# -- Sizes -------------------------------------------------------------------------------------------------------


def long_files(sources: Sequence[Source]) -> list[str]:
    """Files with more lines than LONGEST_FILE."""
    lines = {source.module: source.text.count("\n") for source in sources}
    return [f"{module} has {count} lines" for module, count in lines.items() if count > LONGEST_FILE]


def long_classes(sources: Sequence[Source]) -> list[str]:
    """Classes with more lines than LONGEST_CLASS that LONGER_CLASSES does not name."""
    found = []
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and node.name not in LONGER_CLASSES:
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > LONGEST_CLASS:
                    found.append(f"{source.module}.{node.name} has {count} lines")
    return found


def test_no_file_is_too_long() -> None:
    assert long_files([*PRODUCT, *TESTS]) == []


def test_no_class_of_the_product_is_too_long() -> None:
    assert long_classes(PRODUCT) == []


def test_every_exception_is_a_class_that_exists_and_needs_it() -> None:
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for source in PRODUCT
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
    }
    assert {name for name in LONGER_CLASSES if lengths.get(name, 0) <= LONGEST_CLASS} == set()


def test_a_file_and_a_class_that_are_too_long_are_found() -> None:
    body = "class Long:\n" + "    x = 1\n" * 300 + "\n" * 300
    (long_file,), (long_class,) = long_files([Source("consumer.x", body)]), long_classes([Source("consumer.x", body)])
    assert long_file == "consumer.x has 601 lines"
    assert long_class == "consumer.x.Long has 301 lines"


# -- Packages say what they are ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "package", sorted({path.parent for path in ROOT.glob("[sac]*/**/__init__.py")}), ids=_module_of
)
def test_every_package_says_what_it_is(package: Path) -> None:
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    assert len(ast.get_docstring(tree) or "") > 40


# -- Private names -----------------------------------------------------------------------------------------------


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _owners(sources: Sequence[Source]) -> dict[str, set[str]]:
    """Private name -> packages that define it: at the top level of a module, in a class, or on `self`."""
    owners: dict[str, set[str]] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names = [name]
                case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    names = [name]
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names = [name]
                case _:
                    continue
            for name in filter(_is_private, names):
                owners.setdefault(name, set()).add(source.package)
    return owners


def _uses(source: Source) -> Iterator[tuple[int, str, str]]:
    """Line, module ("" if not known) and name of each private name that is imported or not used through self or cls."""
    for node in ast.walk(source.tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                yield from ((node.lineno, module or "", alias.name) for alias in names if _is_private(alias.name))
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if _is_private(name):
                yield node.lineno, "", name
            case ast.Call(func=ast.Attribute(attr="setattr" | "delattr"), args=[_, ast.Constant(value=str(name)), *_]):
                if _is_private(name):
                    yield node.lineno, "", name


def private_uses(sources: Sequence[Source], owners: Mapping[str, set[str]]) -> list[str]:
    """Uses of a private name in a package that does not define it. `owners`: see `_owners`."""
    return [
        f"{source.module}:{line} uses {name} of {', '.join(sorted(owners[name]))}"
        for source in sources
        for line, module, name in _uses(source)
        if name in owners
        if (source.package not in owners[name] if not module else package_of(module) != source.package)
    ]


def test_no_package_uses_a_private_name_of_another() -> None:
    owners = _owners([*PRODUCT, *TESTS])
    assert private_uses([*PRODUCT, *TESTS], owners) == []


@pytest.mark.parametrize(
    "use",
    [
        "from adapters.store.orders import _lock",
        "import adapters.store.orders\nadapters.store.orders._lock()",
        "store._lock()",
        "monkeypatch.setattr(store, '_lock', None)",
    ],
)
def test_a_use_of_a_private_name_is_found(use: str) -> None:
    owner = Source("adapters.store.orders", "def _lock(): ...")
    user, neighbour = Source("consumer.applying.apply", use), Source("adapters.store.commands", use)
    assert len(private_uses([user, neighbour], _owners([owner]))) == 1
