import tomllib

from django.conf import settings


def test_the_schema_tells_the_version_of_the_project():
    # Two places: the image holds no pyproject.toml.
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    assert settings.SPECTACULAR_SETTINGS["VERSION"] == project["version"]
