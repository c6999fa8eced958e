from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

CONTENT_TYPE = "application/problem+json"


class ContentNegotiation(DefaultContentNegotiation):
    """Who asks for problem documents gets JSON too: errors are of one type, records of the other."""

    def get_accept_list(self, request: Request) -> list[str]:
        accepted = super().get_accept_list(request)
        return [token.replace(CONTENT_TYPE, "application/json") for token in accepted]
