def beat_config(settings):
    return {
        "beat_scheduler": "redbeat.RedBeatScheduler",
        "redbeat_redis_url": settings.redis_url.get_secret_value(),
        "redbeat_lock_timeout": 10,
        "redbeat_key_prefix": "keydistill:redbeat:",
        "beat_schedule": {
            "watchdog": {
                "task": "keydistill.watchdog",
                "schedule": settings.watchdog_seconds,
                "options": {"queue": "control", "expires": settings.watchdog_seconds * 2},
            }
        },
    }


def fire(*a): ...
