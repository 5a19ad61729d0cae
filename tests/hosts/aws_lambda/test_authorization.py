"""The artefact authorizes, buffered and streamed, whichever frozen environment a request wakes."""

from __future__ import annotations

import pytest

from tests.support import authorization

from .conftest import Lambda, Mode

RACERS = 4
"""Each needs an environment of its own, and a cold start takes a while on a machine that starts several."""


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_frozen_environments_authorize_time_after_time(function: Lambda, mode: Mode) -> None:
    front = function.deploy(mode, app=authorization.APP, settings=authorization.SETTINGS)
    for user in authorization.KEYS:
        authorization.play(front.url, user, racers=RACERS)
    assert len(set(front.served)) >= 2
    assert not front.errors
