"""What the checks are called, in Dagster as in the YAML."""

LOAD_VERIFIED = "load_verified"
ROW_COUNT = "row_count_matches_source"
VOLUME = "volume_as_usual"
PRIMARY_KEY = "primary_key_unique"
SCHEMA = "schema_unchanged"
SCHEMA_CHANGE = "column_schema_change"  # Dagster's own, and its name
CONTENTS = "contents_match_source"

# rows that a failed check names
MOST_ROWS = 10
