"""moto where LocalStack would be: a stand-in, and it says so."""

import json

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

AWS = DomainDispatcherApplication(create_backend_app)
HEALTH = json.dumps({"stand_in": "moto, not LocalStack", "services": {}}).encode()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/_localstack/health":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [HEALTH]
    return AWS(environ, start_response)


run_simple("0.0.0.0", 4566, app, threaded=True)
