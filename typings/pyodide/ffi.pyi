# What is used of Pyodide's foreign function interface.
from collections.abc import Callable
from typing import Any

class JsException(Exception): ...

jsnull: Any

def to_js(obj: Any, /, *, dict_converter: Callable[[Any], Any] | None = None) -> Any: ...
