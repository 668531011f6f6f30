"""Client of the MLflow model registry, and the packaging of models for it."""
