"""What happens to forecasts after they are served: scores, recalibration, drift, exported findings."""
