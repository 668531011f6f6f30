# Prometheus from Debian.
FROM tradelake-standin/prometheus-base
VOLUME /prometheus
