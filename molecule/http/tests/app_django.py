"""The answers of app_raw.py, by a Django application."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import re_path

settings.configure(SECRET_KEY="none", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[])


def health(request):
    """Report that the application serves."""
    return HttpResponse("ok\n")


def form(request):
    """Answer with the fields of a form."""
    return JsonResponse({"name": request.POST["name"], "x": len(request.POST["x"])})


def echo(request):
    """Answer with the request as it arrived."""
    body = request.read()
    document = {name: value for name, value in request.environ.items() if isinstance(value, str)}
    # Django has already decoded the path in place.
    document["PATH_INFO"] = document["PATH_INFO"].encode().decode("latin-1")
    return JsonResponse({"environ": document, "received": len(body)})


urlpatterns = [re_path("^healthz$", health), re_path("^form$", form), re_path("", echo)]
app = get_wsgi_application()
