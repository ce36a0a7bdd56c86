"""The Prometheus exporter: one collector a file, collected in the background, rendered on scrape."""
