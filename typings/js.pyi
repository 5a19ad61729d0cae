# JavaScript's global scope, as Pyodide offers it.
from typing import Any

def __getattr__(name: str) -> Any: ...
