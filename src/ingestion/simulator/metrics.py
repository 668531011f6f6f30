"""The simulator's Prometheus metrics."""

from prometheus_client import Counter, Gauge

FRAMES = Counter("simulator_frames_sent_total", "Frames sent to WebSocket clients.", ["channel"])
CLIENTS = Gauge("simulator_clients", "WebSocket connections that are open.")
FAULTS = Counter("simulator_faults_total", "Faults injected.", ["kind"])
REQUESTS = Counter("simulator_rest_requests_total", "REST requests answered: ok, cached or the error.", ["outcome"])
