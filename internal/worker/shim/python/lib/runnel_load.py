"""Finds the handler, and how it wants to be called."""

import os
import sys

from runnel_errors import LoadError

# Of code objects.
VARARGS, COROUTINE = 0x04, 0x80


class Handler:
    """A handler. Both answers are decided once, when the code is loaded."""

    def __init__(self, call, takes_context, is_async):
        self.call = call
        self.takes_context = takes_context
        self.is_async = is_async


def load(name):
    """Imports the module of MODULE.FUNCTION and returns its Handler."""
    module_name, dot, attribute = name.rpartition(".")
    while module_name.startswith("./"):
        module_name = module_name[2:]
    module_name = module_name.replace("/", ".")
    if not dot or not module_name or not attribute:
        raise LoadError("handler %r is not of the form MODULE.FUNCTION, as in main.handler" % name)
    top = module_name.partition(".")[0]
    if top in sys.modules:
        raise LoadError(
            "handler %s: a module named %s is part of Python and already loaded; rename the file" % (name, top)
        )
    path = module_name.replace(".", os.sep)
    if not (os.path.exists(path + ".py") or os.path.isdir(path)):
        raise LoadError("handler %s: there is no file %s.py in the function's source" % (name, path))
    __import__(module_name)
    module = sys.modules[module_name]
    try:
        call = getattr(module, attribute)
    except AttributeError:
        raise LoadError(
            "handler %s: %s has no %r; %s" % (name, path + ".py", attribute, _functions(module))
        ) from None
    if isinstance(call, type):
        raise LoadError("handler %s is a class: name a function or an instance with __call__" % name)
    if not callable(call):
        raise LoadError("handler %s is a %s: it cannot be called" % (name, type(call).__name__))
    return Handler(call, _takes_context(name, call), _is_async(call))


def _functions(module):
    names = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__]
    return "its functions are: " + ", ".join(sorted(names)[:20]) if names else "it defines no function"


def _takes_context(name, call):
    code = getattr(call, "__code__", None)
    # The common case, without the 10 ms that it takes to import inspect.
    if code is not None and type(call).__name__ == "function" and not hasattr(call, "__wrapped__"):
        kwonly = code.co_kwonlyargcount - len(call.__kwdefaults__ or ())
        most = sys.maxsize if code.co_flags & VARARGS else code.co_argcount
        least = code.co_argcount - len(call.__defaults__ or ())
    else:
        import inspect

        try:
            parameters = inspect.signature(call).parameters.values()
        except (TypeError, ValueError):
            return False  # a builtin that does not tell
        most = least = kwonly = 0
        for p in parameters:
            required = p.default is p.empty
            if p.kind is p.VAR_POSITIONAL:
                most = sys.maxsize
            elif p.kind is p.KEYWORD_ONLY:
                kwonly += required
            elif p.kind is not p.VAR_KEYWORD:
                most += 1
                least += required
    if most < 1 or least > 2 or kwonly:
        raise LoadError("handler %s has the wrong parameters: want (event) or (event, context)" % name)
    return most >= 2


def _is_async(call):
    """Whether calling it gives a coroutine, as far as that can be seen."""
    for one in (call, getattr(call, "func", None), getattr(type(call), "__call__", None)):
        code = getattr(one, "__code__", None)
        if code is not None and code.co_flags & COROUTINE:
            return True
    return False
