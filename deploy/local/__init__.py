"""Everything on one machine and without containers: Postgres, Dagster's services, the exporter."""
