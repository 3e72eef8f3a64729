"""Whether the Hugging Face hub can be reached, asked before its client is: that one retries for half a minute."""

from __future__ import annotations

from functools import lru_cache
from threading import Thread
from time import monotonic

_TIMEOUT = 3.0  # seconds for the answer to one request without a body
_REMEMBERED = 60.0  # seconds: long enough for all networks of a command, short enough for a session that goes online


def trouble() -> str:
    """Why the hub cannot be reached, or an empty string; within about three seconds. Any answer at all will do.

    The answer is remembered for a minute. ``HF_ENDPOINT`` and proxies count, because the hub's own client asks.
    """
    from huggingface_hub import HfApi

    return _trouble(HfApi().endpoint, int(monotonic() / _REMEMBERED))


@lru_cache(maxsize=1)
def _trouble(endpoint: str, _minute: int) -> str:
    found = [f"no answer from {endpoint} within {_TIMEOUT:g} seconds"]

    def ask() -> None:
        from huggingface_hub import get_session

        try:
            get_session().head(endpoint, timeout=_TIMEOUT)
        except Exception as error:  # of the name, the route, the proxy, the certificate: all mean the same
            found[0] = f"{endpoint}: {str(error) or type(error).__name__}"
        else:
            found[0] = ""

    # A thread, because no timeout bounds the look-up of a name; a daemon, because nobody waits for it at the end.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_TIMEOUT + 0.5)
    return found[0]
