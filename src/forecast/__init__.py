"""Forecasting: targets, models, training, evaluation, and the API that serves forecasts."""
