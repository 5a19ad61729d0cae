"""What a request walks through: the modules that it enters, in order, seen by a tracer.

`python -m tests.walks` prints one line for each walk. All figures are counted in the traced calls:

*Modules*: the distinct modules of the product whose functions run. The product is `src/mcp_edge`, `lambda/` and
`worker/`. All of its modules count, down to the smallest helper. Imports do not count, nor does code that is generated
(the `__init__` of a dataclass), nor the fork's server, nor the SDK: what the SDK calls counts as called by the module
that called the SDK. `protocol.eager` steps a coroutine as the interpreter does, and counts as the interpreter. Each
walk is done twice and the second time is traced, so that what is made lazily is made.

*Walked*: the modules that enter another one in this walk. The others are look-ups: the reader reads one function of
them and is back.

*Returns*: a module is entered by a call from another module. The module that enters it first is where a reader finds
it. Each further module that calls into it brings the reader back to a module that they have left: one return. So the
returns are the distinct pairs (calling module, entered module) beyond those by which a module was entered first. A
call that returns to its caller is no return; a loop and a second call between the same two modules add nothing. No
returns means that the modules form a tree.

*Leading on*: the returns to a module that is walked through. The other returns are to look-ups.

*Upward*: the calls (calling module, called function) back into a module that stands higher than the calling one: it
imports, directly or not, more modules of the product. The calling module cannot name what it calls, so a reader cannot
follow the imports: it is a hook of a subclass, a callback, or a coroutine that was made above and is begun below.

The event loop begins tasks and timers. A module that is entered so is entered by nobody: it counts as a module and
makes no return.
"""
