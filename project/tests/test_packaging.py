import re
import tomllib

from django.conf import settings

ROOT = settings.BASE_DIR


def locked() -> dict[str, str]:
    """Each package's entry in requirements.txt: its version, and what stands below."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text())
    return dict(entry.split("==", 1) for entry in entries if not entry.startswith("#"))


def test_the_schema_tells_the_version_of_the_project():
    # Two places: the image holds no pyproject.toml.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert settings.SPECTACULAR_SETTINGS["VERSION"] == project["version"]


def test_the_lock_is_compiled_from_what_is_asked_for():
    asked = re.findall(
        r"^([\w.-]+)(?:\[\w+\])?==(\S+)", (ROOT / "requirements.in").read_text(), re.MULTILINE
    )
    assert len(asked) > 15
    found = locked()
    for name, version in asked:
        assert found[re.sub(r"[-_.]+", "-", name).lower()].split()[0] == version, "make lock"


def test_every_package_is_locked_by_hashes():
    entries = locked()
    assert len(entries) > 40
    assert not [name for name, entry in entries.items() if "--hash=sha256:" not in entry]


def test_the_lock_names_no_place_to_get_packages_from():
    lock = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted", lock)
