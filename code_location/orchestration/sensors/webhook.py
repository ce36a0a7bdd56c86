"""Posts a text to a webhook, as Slack's incoming webhooks take it. Its URL is a secret and shows in no error."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

_TIMEOUT_SECONDS = 10.0
_WORTH_ANOTHER_TRY = {408, 425, 429}


class Undelivered(Exception):
    """The webhook didn't take a text; `transient` when it may do so later."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is redirected arrives as a GET, without the text."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, text: str) -> None:
    """Raises Undelivered."""
    body = json.dumps({"text": text}).encode()
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        transient = error.code >= 500 or error.code in _WORTH_ANOTHER_TRY
        raise Undelivered(f"it answers {error.code}", transient=transient) from None
    except urllib.error.URLError as error:
        why = error.reason if isinstance(error.reason, OSError) else None
        raise Undelivered(f"it can't be reached{_named(why)}", transient=True) from None
    except OSError as error:
        raise Undelivered(f"the connection to it broke{_named(error)}", transient=True) from None
    except (http.client.InvalidURL, ValueError):
        raise Undelivered("its URL can't be used", transient=False) from None
    except http.client.HTTPException as error:
        raise Undelivered(f"it gives no proper answer ({type(error).__name__})", transient=True) from None


def escaped(text: str) -> str:
    """A text in which Slack sees neither links nor mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _named(error: OSError | None) -> str:
    return f" ({error.strerror or type(error).__name__})" if error else ""
