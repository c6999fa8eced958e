import re

import pytest
from django.conf import settings
from django.core.management import call_command
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db

READ = {"200", "400", "401", "403", "405", "406", "429", "503"}
WRITE = READ - {"200"} | {"409", "413", "415"}


@pytest.fixture(scope="module")
def schema() -> dict:
    return APIClient().get("/api/schema/", HTTP_ACCEPT="application/json").json()


def operations(schema):
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_spectacular_has_no_warning(tmp_path, capsys):
    file = str(tmp_path / "schema.yml")
    call_command("spectacular", validate=True, fail_on_warn=True, file=file)
    assert capsys.readouterr().err == ""


def test_the_committed_schema_is_the_one_served(tmp_path):
    """`make schema` writes it; its diff shows what changes for integrators."""
    served = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(served))
    committed = settings.BASE_DIR / "project" / "api" / "openapi.yaml"
    next_year = re.compile(r"maximum: 20\d\d\n")  # which moves by itself
    assert next_year.sub("", committed.read_text()) == next_year.sub("", served.read_text())


def test_it_is_openapi_3_1(schema):
    import openapi_spec_validator  # takes half a second, which only one process needs to spend

    assert schema["openapi"] == "3.1.0"
    openapi_spec_validator.validate(schema)


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/books/", "get", READ | {"414"}),
        ("/books/", "post", WRITE | {"201", "404", "422"}),
        ("/books/export/", "get", READ | {"414"}),
        ("/books/{id}/", "get", READ | {"304", "404"}),
        ("/books/{id}/", "put", WRITE | {"200", "404", "412"}),
        ("/books/{id}/", "patch", WRITE | {"200", "404", "412"}),
        ("/books/{id}/", "delete", READ - {"200"} | {"204", "404", "409", "412"}),
        ("/imports/", "get", READ | {"414"}),
        ("/imports/", "post", WRITE | {"202", "404", "414", "422"}),
        ("/imports/{id}/", "get", READ | {"404"}),
        ("/imports/{id}/", "delete", READ - {"200"} | {"204", "404", "409"}),
        ("/imports/{id}/refused/", "get", READ | {"404"}),
        ("/members/imports/", "post", WRITE | {"202", "404", "414", "422"}),
        ("/members/imports/{id}/", "delete", READ - {"200"} | {"204", "404", "409"}),
        ("/members/register/", "post", WRITE | {"201", "404", "422"}),
        ("/members/", "get", READ | {"414"}),
        ("/books/changes/", "get", READ | {"410", "414"}),
        ("/members/{id}/", "get", READ | {"304", "404"}),
        ("/members/{id}/", "patch", WRITE | {"200", "404", "412"}),
        ("/members/{id}/", "delete", READ - {"200"} | {"204", "404", "409", "412"}),
        ("/auth/token/", "post", WRITE - {"409"} | {"200"}),
        ("/auth/token/", "delete", READ - {"200"} | {"204"}),
        ("/../../health/live/", "get", {"200", "400", "406"}),
        ("/../../health/ready/", "get", {"200", "400", "406", "503"}),
    ],
)
def test_every_status_is_documented(schema, path, method, statuses):
    path = f"/api/v1{path}".replace("/api/v1/../..", "")
    assert set(schema["paths"][path][method]["responses"]) == statuses


def test_the_headers_of_conditional_requests_are_documented(schema):
    for path, method, operation in operations(schema):
        headers = [p["name"] for p in operation.get("parameters", []) if p["in"] == "header"]
        one = "{id}" in path and "/auth/" not in path and "/imports/" not in path
        creates = bool({"201", "202"} & operation["responses"].keys())
        asked = ["If-None-Match" if method == "get" else "If-Match"] if one else []
        assert headers == (["Idempotency-Key"] if creates else asked)
        made = operation["responses"].get("201", operation["responses"].get("202"))
        assert ("Location" in str(made)) is creates
        tagged = {code for code, answer in operation["responses"].items() if "ETag" in str(answer)}
        made = {"201"} & operation["responses"].keys()
        expected = {"get": {"200", "304"}, "delete": set()}.get(method, {"200"}) if one else made
        if path != "/api/v1/books/" or method != "get":
            assert tagged == expected, (path, method)


def test_the_headers_of_every_response_are_documented(schema):
    components = schema["components"]
    for path, method, operation in operations(schema):
        for status, response in operation["responses"].items():
            name = response.get("$ref", "").rpartition("/")[2]
            headers = (components["responses"][name] if name else response)["headers"]
            expected = {"X-Request-ID"}
            if not path.startswith("/health/"):
                expected |= {"RateLimit", "RateLimit-Policy"}
            expected |= {"401": {"WWW-Authenticate"}, "405": {"Allow"}}.get(status, set())
            assert expected <= headers.keys(), (path, method, status)
            for header, content in headers.items():
                if "$ref" in content:
                    assert content["$ref"] == f"#/components/headers/{header}"
                    assert header in components["headers"]


def test_what_a_form_takes_is_text(schema):
    """A generated client would write a boolean as its language does, and send each default."""
    body = schema["components"]["schemas"]["MemberImportUploadRequest"]["properties"]
    assert body["welcome_emails"]["enum"] == ["true", "false"]
    for name, field in body.items():
        text = field.get("items", field)
        assert (text["type"], "default" in field) == ("string", False), name
    assert body["delimiter"]["x-enum-varnames"] == ["COMMA", "SEMICOLON", "TAB", "VERTICAL_BAR"]


def test_a_file_is_not_empty(schema):
    content = dict(schema["paths"]["/api/v1/imports/"]["post"]["requestBody"]["content"])
    form = content.pop("multipart/form-data")["schema"]["$ref"].rpartition("/")[2]
    file = schema["components"]["schemas"][form]["properties"]["file"]
    schemas = [file, *(each["schema"] for each in content.values())]
    assert all((each["format"], each["minLength"]) == ("binary", 1) for each in schemas)
    assert list(content)[-1] == "application/octet-stream"  # see described()


def test_bodies_are_closed(schema):
    """Unknown fields are refused, so the description says so."""
    for path, method, operation in operations(schema):
        content = operation.get("requestBody", {}).get("content", {})
        for kind in content.keys() & {"application/json", "multipart/form-data"}:
            reference = content[kind]["schema"]["$ref"]
            body = schema["components"]["schemas"][reference.rpartition("/")[2]]
            assert body["additionalProperties"] is False, (path, method)


def test_an_isbn_is_any_spelling_in_and_13_digits_out(schema):
    schemas = schema["components"]["schemas"]
    assert schemas["BookRequest"]["properties"]["isbn"]["format"] == "isbn"
    assert schemas["Book"]["properties"]["isbn"]["pattern"] == "^97[89][0-9]{10}$"
    assert "pattern" not in schemas["BookRequest"]["properties"]["isbn"]


def test_an_id_in_an_address_is_a_number(schema):
    for path, _, operation in operations(schema):
        ids = [p["schema"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert ids == ([{"type": "integer", "minimum": 1}] if "{id}" in path else [])


def test_names_make_good_clients(schema):
    ids = {operation["operationId"] for _, _, operation in operations(schema)}
    assert {"books_list", "books_changes", "members_register", "health_live"} <= ids
    text = str(schema)
    assert "x-spec-enum-id" not in text
    unused = [name for name in schema["components"]["schemas"] if f"/schemas/{name}'" not in text]
    assert unused == []
    assert schema["servers"][0]["url"] == "/"


def test_problems_are_documented_with_type_and_retry_after(schema):
    for name, response in schema["components"]["responses"].items():
        assert list(response["content"]) == ["application/problem+json"]
        assert ("Retry-After" in response.get("headers", {})) == (name[-3:] in ("429", "503"))


def test_what_a_parameter_may_be_is_documented(schema):
    parameters = {p["name"]: p for p in schema["paths"]["/api/v1/books/"]["get"]["parameters"]}
    assert parameters["title"]["schema"]["minLength"] == 1
    assert "explode" not in parameters["ordering"]  # true, as the clients of generators send it
    names = ("title", "author", "publication_year", "created_at", "updated_at", "id")
    items = parameters["ordering"]["schema"]["items"]
    assert items["enum"] == [sign + name for name in names for sign in ("", "-")]
    assert items["x-enum-varnames"][:3] == ["TITLE", "TITLE_DESC", "AUTHOR"]


def test_every_operation_explains_itself(schema):
    tags = {tag["name"] for tag in schema["tags"]}
    for path, method, operation in operations(schema):
        assert operation["summary"], (path, method)
        assert set(operation["tags"]) < tags, (path, method)
        for parameter in operation.get("parameters", []):
            assert parameter.get("description") or parameter["in"] == "path", parameter


def test_every_body_has_an_example(schema):
    for path, method, operation in operations(schema):
        if "requestBody" in operation:
            for media_type, content in operation["requestBody"]["content"].items():
                is_binary = any(
                    part in media_type for part in ("opendocument", "openxmlformats", "octet")
                )
                assert is_binary or content["examples"], (path, method)


def test_authentication_is_documented(schema, settings):
    token, session = {"token": []}, {"session": []}
    paths = schema["paths"]
    assert paths["/api/v1/members/"]["get"]["security"] == [token, session]
    assert paths["/api/v1/books/"]["post"]["security"] == [token, session]
    assert paths["/api/v1/books/"]["get"]["security"] == [token, session, {}]
    assert paths["/api/v1/members/register/"]["post"]["security"] == [token, session, {}]
    assert paths["/api/v1/auth/token/"]["post"]["security"] == []
    assert paths["/health/live/"]["get"]["security"] == []
    schemes = schema["components"]["securitySchemes"]
    assert (schemes["token"]["type"], schemes["token"]["scheme"]) == ("http", "bearer")
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", "sessionid")


def test_closed_operations_are_documented_as_closed(api, settings):
    settings.PUBLIC_CATALOGUE = settings.PUBLIC_REGISTRATION = False
    paths = api.get("/api/schema/", HTTP_ACCEPT="application/json").json()["paths"]
    for path, method in [("/api/v1/books/", "get"), ("/api/v1/members/register/", "post")]:
        assert {} not in paths[path][method]["security"]


def test_request_bodies_have_no_read_only_fields(schema):
    body = schema["components"]["schemas"]["RegistrationRequest"]
    assert set(body["properties"]) == set(body["required"]) == {"username", "email"}


def test_integrators_see_no_docstring(schema):
    operations = [o for path in schema["paths"].values() for o in path.values()]
    assert all(operation["summary"] for operation in operations)
    assert "RecordMixin" not in str(schema)
    assert not any("a value that is taken" in o.get("description", "") for o in operations)
