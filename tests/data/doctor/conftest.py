import pytest

from mainspring.data.doctor.examine import examine
from mainspring.data.doctor.view import open_view


@pytest.fixture
def faults(registry):
    """All faults of a dataset, as {check: [faults]}; every check is run, so that false alarms are seen."""

    def find(dataset, **more):
        found = {}
        for fault in examine(open_view(registry, dataset, **more)):
            found.setdefault(fault.check, []).append(fault)
        return found

    return find
