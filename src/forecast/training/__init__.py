"""Training: fitting, evaluation and selection of models; serving never imports it."""
