"""The app that is served: the API, behind what checks who asks and how much is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.types import ASGIApp

from vaeudf.explore.api import Api
from vaeudf.explore.bodies import BoundedBodies, Limit, limit_of
from vaeudf.explore.guard import Guard
from vaeudf.explore.headers import StrictHeaders


def guarded_app(
    api: Api,
    *,
    host: str,
    port: int,
    token: str | None,
    allowed: Collection[str] = (),
    limit_of: Callable[[str], Limit] = limit_of,
) -> ASGIApp:
    """Return the app.

    Args:
        api: What answers.
        host: What the service is bound to.
        port: Likewise.
        token: What every request must know; None for a service that only its own machine reaches.
        allowed: Further names that it may be asked by, those that a proxy has for browsers.
        limit_of: Gives the limit of a body by the request's path.
    """
    bounded = BoundedBodies(api.app(), limit_of)
    return StrictHeaders(Guard(bounded, host=host, port=port, token=token, allowed=allowed))
