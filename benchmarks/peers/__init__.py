"""What users would otherwise take: each loads the same DuckDB table into the same Postgres, in its fastest known way.

They run in an environment of their own (`make benchmark-peers` makes it): DuckDB's Postgres extension and Sling's
binary exist for certain versions only. Each script prints one JSON object as its last line, as benchmarks.ours does.
"""
