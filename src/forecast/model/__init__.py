"""The forecasting model: targets, baselines, inputs, corrections, intervals and losses; pure."""
