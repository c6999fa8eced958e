"""Every string has a Russian translation, committed and compiled."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from django.conf import settings

APPS = ["project", "library", "members"]


def catalogue(app: str, root: Path = settings.BASE_DIR) -> Path:
    return root / app / "locale" / "ru" / "LC_MESSAGES" / "django.po"


@pytest.mark.parametrize("app", APPS)
def test_every_string_is_translated(app):
    messages = polib.pofile(str(catalogue(app)))
    assert [entry.msgid for entry in messages if entry.fuzzy or not entry.translated()] == []


@pytest.mark.parametrize("app", APPS)
def test_placeholders_survive_translation(app):
    for entry in polib.pofile(str(catalogue(app))):
        for text in [entry.msgstr, *entry.msgstr_plural.values()]:
            for name in placeholders(entry.msgid):
                assert not text or name in text, entry.msgid


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[0-9.]*[sdf]", text))


@pytest.mark.parametrize("app", APPS)
def test_the_compiled_file_is_of_the_same_words(app):
    source = polib.pofile(str(catalogue(app)))
    compiled = polib.mofile(str(catalogue(app).with_suffix(".mo")))
    assert {(e.msgid, e.msgstr or str(e.msgstr_plural)) for e in compiled} == {
        (e.msgid, e.msgstr or str(e.msgstr_plural)) for e in source
    }


@pytest.mark.skipif(not shutil.which("xgettext"), reason="gettext is not installed")
@pytest.mark.parametrize("app", APPS)
def test_no_string_of_the_code_is_missing(app, tmp_path):
    shutil.copytree(settings.BASE_DIR / app, tmp_path / app)
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale", "ru", "--no-obsolete"],
        cwd=tmp_path / app,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ""},
        check=True,
        capture_output=True,
    )
    fresh = {entry.msgid for entry in polib.pofile(str(catalogue(app, tmp_path)))}
    assert fresh == {entry.msgid for entry in polib.pofile(str(catalogue(app)))}
