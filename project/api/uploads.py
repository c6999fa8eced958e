"""Files as the body of a request, or as a part of it: they stream to the disk, up to a limit."""

from collections.abc import Iterable, Mapping
from io import BufferedReader, RawIOBase
from typing import IO, Any

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, DataAndFiles, MultiPartParser
from rest_framework.request import Request

from .errors import TooLargeError
from .middleware import is_chunked

UPLOAD_CHUNK_BYTES = 2**16
FORM_SIZE = 2**20  # of a multipart body, around the file


class LimitedBody(RawIOBase):
    """Raises TooLargeError as soon as more comes, or has been announced.

    Less than that is an error too: half a file, of a client that died, looks like a whole one.
    """

    def __init__(self, stream: IO[bytes], limit: int, announced: int = 0) -> None:
        self.stream, self.left, self.missing = stream, limit, announced

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.missing > self.left:
            raise TooLargeError
        try:
            data = self.stream.read(min(len(buffer), self.left + 1))
        except Exception as error:  # each server raises its own for malformed chunks
            raise ParseError(str(error)) from None
        if self.missing > 0 and not data:
            raise ParseError(_("The body is shorter than its Content-Length."))
        self.missing -= len(data)
        self.left -= len(data)
        if self.left < 0:
            raise TooLargeError
        buffer[: len(data)] = data
        return len(data)


class TakesFilesMixin:
    """For view sets whose POST takes a file of `max_file_size` bytes."""

    takes_files = True
    max_file_size: int

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        limit = self.max_file_size + FORM_SIZE
        if is_chunked(request):
            request.META["CONTENT_LENGTH"] = str(limit)  # parsers take none for an empty body
            body = LimitedBody(request.META["wsgi.input"], limit)
        else:
            stream: Any = request._stream
            body = LimitedBody(stream, limit, announced=stream.limit)
        request._stream = BufferedReader(body, UPLOAD_CHUNK_BYTES)
        return super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]

    def handle_exception(self, error: Exception) -> Any:
        for handler in self.request._request.upload_handlers:  # type: ignore[attr-defined]
            handler.upload_interrupted()  # deletes what has come so far
        return super().handle_exception(error)  # type: ignore[misc]


class FileParser(BaseParser):
    """The body is the file."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> DataAndFiles:
        kind, parameters = parse_header_parameters(media_type or "")
        file = TemporaryUploadedFile("upload", kind, 0, parameters.get("charset"))
        files: MultiValueDict[str, UploadedFile] = MultiValueDict({"file": [file]})
        assert parser_context
        parser_context["request"]._request._files = files  # closed with the request
        while chunk := stream.read(UPLOAD_CHUNK_BYTES):
            file.write(chunk)
        file.size = file.tell()
        file.seek(0)
        return DataAndFiles(QueryDict(), files)


def file_parsers(media_types: Iterable[str]) -> list[type[BaseParser]]:
    """A form with the file, or the file alone."""
    parsers = (type("FileParser", (FileParser,), {"media_type": each}) for each in media_types)
    return [MultiPartParser, *parsers]
