"""Where failed runs are reported: the model, and what a webhook's URL looks like."""

from __future__ import annotations

import re

from pydantic import Field

from code_location.replication.config.environment import BrokenReference, literal_start
from code_location.replication.config.option_types import Options


class Alerts(Options):
    """Where failed runs are reported. `webhook` may hold a secret, so it shows in no repr."""

    webhook: str = Field(repr=False, min_length=1)
    """URL of a Slack incoming webhook, or of anything that takes a POST of {"text": ...}."""


def wrong_with_webhook(url: str) -> str | None:
    """What keeps a URL from being a webhook's, without showing it; None when nothing does."""
    return (
        None if re.match(r"https?://[^/\s]", url) else "a webhook starts with https:// or http://, and a host"
    )


def wrong_with_webhook_template(template: str) -> str | None:
    """The same of a URL whose variables are not filled in, as far as that can be told."""
    try:
        start = literal_start(template)
    except BrokenReference as broken:
        return str(broken)
    known = start == template or ("://" in start and not start.endswith("://"))
    return wrong_with_webhook(start) if known else None
