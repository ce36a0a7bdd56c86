import pytest

from code_location.replication import LoadFailure, LoadRequest, replicate, windows_between


@pytest.fixture
def replicated(lab):
    """Everything but two days of activity."""
    config = lab.project.config
    users, products, activity = config.tables
    days = windows_between(activity, "2024-03-01", "2024-03-03")
    requests = [LoadRequest(users), LoadRequest(products), *(LoadRequest(activity, day) for day in days)]
    assert not [event for event in replicate(config, requests) if isinstance(event, LoadFailure)]
    with lab.dagster() as dagster:
        yield dagster
