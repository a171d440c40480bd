"""The pages beside the admin."""

from collections.abc import Iterator

from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from leave.models import Request


def index(request: HttpRequest) -> HttpResponse:
    """Show all requests."""
    return render(request, "leave/index.html", {"requests": Request.objects.all()})


def export(_request: HttpRequest) -> StreamingHttpResponse:
    """Send all requests, line by line."""

    def lines() -> Iterator[str]:
        for each in Request.objects.order_by("id").iterator():
            yield f"{each}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def health(_request: HttpRequest) -> HttpResponse:
    """Answer if the database answers."""
    connection.ensure_connection()
    return HttpResponse("ok")
