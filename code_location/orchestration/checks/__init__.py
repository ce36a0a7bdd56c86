"""Asset checks: what the YAML's tables are held to, one check a file."""
