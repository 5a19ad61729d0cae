"""A table of routes: which path is answered by whom, and for whom. It knows no handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum


class Who(Enum):
    """For whom a path is, which says what is checked before its handler is called."""

    USER = "user"
    """A user, known by a credential. The handler gets the core, the request and the user."""
    ANYBODY = "anybody"
    """Anybody who asks for this host. The handler gets the request."""
    PROBE = "probe"
    """Whoever watches the process, under whatever host name. The handler gets the request."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table."""

    path: str
    """The whole path, without a query; one that ends with a slash stands for every path below it."""
    handler: Callable[..., Awaitable[None]]
    who: Who


class RouteTable:
    """All routes of one app."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """The first of two routes with one path counts."""
        self._routes: dict[str, Route] = {}
        for route in routes:
            self._routes.setdefault(route.path, route)
        self._below = [route for route in self._routes.values() if route.path.endswith("/")]

    def find(self, path: str) -> Route | None:
        """The route of a path, or None."""
        route = self._routes.get(path)
        if route is None and self._below:
            return next((below for below in self._below if path.startswith(below.path)), None)
        return route

    def paths(self) -> list[str]:
        """The paths of the table, in its order."""
        return list(self._routes)
