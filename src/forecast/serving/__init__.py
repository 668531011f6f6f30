"""What stands behind the API: request parsing, problems, the models in service and their compiled trees."""
