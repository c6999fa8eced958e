"""What schemathesis cannot make up: read by its own process (SCHEMATHESIS_HOOKS)."""

from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.transport.serialization import serialize_binary
from stdnum import ean, isbn

MAX_ID = 300


def as_people_write_it(number: str, spelling: str) -> str:
    number += ean.calc_check_digit(number)
    if spelling == "ten digits" and number.startswith("978"):
        return isbn.to_isbn10(number)
    return isbn.format(number) if spelling == "hyphens" else number


schemathesis.openapi.format(
    "isbn",
    st.builds(
        as_people_write_it,
        st.from_regex(r"(978[0-9]|979[1-9])[0-9]{8}", fullmatch=True, alphabet="0123456789"),
        st.sampled_from(["digits", "ten digits", "hyphens"]),
    ),
)


@schemathesis.serializer(
    "text/csv",
    "text/tab-separated-values",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/x-ndjson",
    "application/jsonl",
)
def as_file(context: Any, value: Any) -> bytes:
    return serialize_binary(value)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Ids that may exist, and no cursor of a list: that is encrypted, so nobody can make one up.

    An option of an import stands in the query or in the form, and of octets the name tells the
    format: no schema can say that.
    """
    number = case.path_parameters.get("id")
    if isinstance(number, int) and number > MAX_ID:
        case.path_parameters["id"] = number % MAX_ID
    is_positive = case.meta is not None and case.meta.generation.mode.is_positive
    if is_positive and not case.operation.path.endswith("/changes/"):
        case.query.pop("cursor", None)
    if is_positive and isinstance(case.body, dict):
        for name in case.body:
            case.query.pop(name, None)
    if is_positive and case.media_type == "application/octet-stream":
        case.query["filename"] = "file.csv"


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """A form says everything in text, so that another type in a field of text breaks no rule.

    Schemathesis knows that too, but not of a form with a file in it.
    """
    if not isinstance(failure, AcceptedNegativeData) or case.media_type != "multipart/form-data":
        return True
    mutations = case.meta.phase.data.mutations
    return not mutations or any(
        mutation.keywords != ("type",) or mutation.original_value != "string"
        for mutation in mutations
    )
