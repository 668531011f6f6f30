"""The age of the newest feature row, one metric for the consumer that makes rows and the predictor that takes them."""

from prometheus_client import Gauge

FRESHNESS = Gauge("feature_freshness_seconds", "Age of the newest feature row of a symbol.", ["symbol"])
