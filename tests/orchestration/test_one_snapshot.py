"""`consistent: true` and where tables are copied: one process holds the one snapshot."""

import pytest

from code_location.replication import ConfigError

MIXED = """
consistent: true
defaults: {execution: subprocess}
tables:
  - {name: users}
  - {name: products}
  - {name: activity, execution: docker}
  - {name: again, execution: docker}
  - name: here
    mode: full_refresh
    execution: in_process
"""


def test_tables_of_several_processes_are_refused(site):
    path = site.yaml(MIXED)
    with pytest.raises(ConfigError) as caught:
        _ = site.project.config
    docker, here = str(caught.value).splitlines()
    assert docker == (
        f"{path}:11:22: 'consistent' reads all tables of a run from one snapshot, which one process holds: 'activity' "
        "has `execution: docker`, 'users' (line 9) `execution: subprocess`. Give all the same, or leave out 'consistent'"
    )
    assert here.startswith(f"{path}:15:5: ")


def test_one_that_says_nothing_counts_as_what_it_is(site):
    path = site.yaml(MIXED.replace("defaults: {execution: subprocess}\n", ""))
    with pytest.raises(ConfigError) as caught:
        _ = site.project.config
    [found] = str(caught.value).splitlines()
    assert found.startswith(f"{path}:10:22: ")
    assert "'users' (line 8) `execution: in_process`" in found


@pytest.mark.parametrize("change", [("consistent: true", ""), ("docker", "subprocess")])
def test_otherwise_they_may(site, change):
    site.yaml(MIXED.replace(*change).replace("in_process", "subprocess" if change[1] else "in_process"))
    assert len(site.project.config.tables) == 5
