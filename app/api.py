"""The API: its title, its Swagger UI at `/`, its namespaces."""

from flask_restx import Api

import user_manage

api = Api(title="User management", version="1.0", description="The sample application of this deployment.")
api.add_namespace(user_manage.namespace)
