"""The application `app`, for any WSGI server; run directly, a development server."""

import os

from flask import Flask, json
from werkzeug import Response
from werkzeug.exceptions import HTTPException

import health
import logs
from api import api
from settings import Settings


def create_app(settings: Settings) -> Flask:
    """Build the application."""
    app = Flask(__name__, static_folder=None)
    app.config.from_mapping(WAIT_SECONDS=settings.wait_seconds, GENERATION=settings.generation)
    app.register_blueprint(health.blueprint)
    app.register_error_handler(HTTPException, answer_in_json)
    api.init_app(app)
    return app


def answer_in_json(error: HTTPException) -> Response:
    """Give errors outside the API, such as an unknown path, the format of the API's own errors."""
    response = error.get_response()
    response.data = json.dumps({"message": error.description})
    response.content_type = "application/json"
    return response


settings = Settings.from_environment(os.environ)
# Called before the application is built: Flask adds its own handler if it finds none.
logs.configure(settings.log_level)
app = create_app(settings)

if __name__ == "__main__":
    app.run(host="0.0.0.0", port=settings.port)
