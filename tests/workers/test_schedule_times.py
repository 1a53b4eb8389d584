"""The times at which schedules fire, in whichever zone they are written."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from keydistill.settings import load_settings
from keydistill.workers import next_times


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_schedule_fires_at_the_hour_of_its_own_zone(zone: str) -> None:
    settings = load_settings(schedules={"nightly": {"cron": "30 3 * * *", "task": "prune"}}, schedule_timezone=zone)
    after = datetime(2026, 5, 1, 12, 0, tzinfo=ZoneInfo("UTC"))
    times = next_times(settings, "nightly", 3, after)
    assert [at.strftime("%H:%M") for at in times] == ["03:30"] * 3
    assert all(str(at.tzinfo) == zone for at in times)
    assert after < times[0] < times[1] < times[2]


def test_through_the_change_of_summer_time() -> None:
    settings = load_settings(
        schedules={"nightly": {"cron": "0 5 * * *", "task": "prune"}}, schedule_timezone="Europe/Berlin"
    )
    after = datetime(2026, 3, 28, 0, 0, tzinfo=ZoneInfo("UTC"))
    times = next_times(settings, "nightly", 3, after)
    assert [at.isoformat() for at in times] == [
        "2026-03-28T05:00:00+01:00",
        "2026-03-29T05:00:00+02:00",
        "2026-03-30T05:00:00+02:00",
    ]
