"""Who may import whom: the two apps never each other, nor the wiring."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

FORBIDDEN = {
    "library": ("members", "project.urls"),
    "members": ("library", "project.urls"),
    "project/api": ("library", "members", "project.urls"),
}


def imports(file: Path) -> Iterator[str]:
    """The modules that FILE imports by their whole names, also inside functions."""
    package = file.relative_to(settings.BASE_DIR).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_nothing_forbidden_is_imported(folder):
    files = [
        file
        for file in Path(settings.BASE_DIR, folder).rglob("*.py")
        if not {"tests", "migrations"} & set(file.parts)
    ]
    assert files
    wrong = {
        (str(file.relative_to(settings.BASE_DIR)), module)
        for file in files
        for module in imports(file)
        if (module + ".").startswith(tuple(f"{name}." for name in FORBIDDEN[folder]))
    }
    assert wrong == set()


def test_imports_of_every_kind_are_seen(tmp_path, settings):
    settings.BASE_DIR = tmp_path
    file = tmp_path / "members" / "mail" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text("import a.b\nfrom ...library import models\ndef f():\n    from ..c import d\n")
    assert {"a.b", "library", "library.models", "members.c.d"} <= set(imports(file))
