"""A sensor can't tell which windows changed; what says so tells what to do instead, and that works."""

import pytest

from code_location.replication import ConfigError

TABLES = """
tables:
  - {name: activity, primary_key: id, sensor: true, %s}
"""
PARTITION = "partition: {by: day, column: happened_at, start: 2024-03-01}"


def test_what_is_refused_has_a_way_out(site):
    path = site.yaml(TABLES % PARTITION)
    with pytest.raises(ConfigError) as caught:
        _ = site.project.config
    assert str(caught.value) == (
        f"{path}:7:39: 'sensor' doesn't go with 'partition': a source tells that a table changed, not in which windows. "
        "Use 'schedule', which loads the latest, or leave out 'partition' and load what changed by mode 'merge' and "
        "'cursor'"
    )
    site.yaml(TABLES % "mode: merge, cursor: happened_at")
    assert "source_changes" in [sensor.name for sensor in site.defs.sensors or ()]
