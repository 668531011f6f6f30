"""The prediction API: request parsing, error responses, and the models in service."""
