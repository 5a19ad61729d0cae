# What is used of the Workers SDK, whose own sources do not import without the platform.
from typing import Any

class Request:
    @property
    def js_object(self) -> Any: ...

class WorkerEntrypoint:
    ctx: Any
    env: Any
    def __init__(self, ctx: Any, env: Any) -> None: ...

def python_to_rpc(value: object) -> Any: ...
