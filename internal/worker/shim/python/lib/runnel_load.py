"""Finds the handler, and how it wants to be called."""

import os
import sys

from runnel_errors import LoadError, describe
from runnel_values import encode

# Of code objects.
VARARGS, COROUTINE = 0x04, 0x80

# What names the algorithm of an Algorithmia project.
PROJECT = "algorithmia.conf"


class Handler:
    """A handler. All is decided once, when the code is loaded."""

    # Runs before the worker is ready; None if there is nothing to run.
    load = None
    encode = staticmethod(encode)
    describe = staticmethod(describe)

    def __init__(self, call, takes_context, is_async):
        self.call = call
        self.takes_context = takes_context
        self.is_async = is_async


class Finder:
    """Comes before all others, for two names.

    Whoever imports the Algorithm Development Kit gets the worker's, also where
    the real packages are installed: theirs would read standard input and write
    to a FIFO. All else of the real client stays as it is.
    """

    def __init__(self, lib):
        self.lib = lib

    def find_spec(self, name, path=None, target=None):
        if name != "adk" and name != "Algorithmia":
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name)
        if spec is None or spec.loader is None or (spec.origin or "").startswith(self.lib + os.sep):
            return spec
        if name == "Algorithmia":
            spec.loader = Amended(spec.loader)
            return spec
        places = spec.submodule_search_locations or ()
        if any(os.path.exists(os.path.join(p, "ADK.py")) for p in places):
            return PathFinder.find_spec(name, [self.lib])
        return spec  # a module of the user's that has the same name


class Amended:
    """Loads the real client, and puts the worker's entry points into it."""

    def __init__(self, real):
        self.real = real

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        self.real.exec_module(module)
        import runnel_adk

        module.ADK = runnel_adk.ADK
        module.handler = runnel_adk.handler

    def __getattr__(self, name):
        return getattr(self.real, name)


def resolve(name):
    """Returns the handler's name; for an Algorithmia project the default is its algorithm."""
    if name != "main.handler" or os.path.exists("main.py") or os.path.isdir("main"):
        return name
    algorithm = project()
    for one in (algorithm, "Algorithm"):
        if algorithm is not None and os.path.exists(os.path.join("src", one + ".py")):
            return "src/%s.apply" % one
    return name


def project():
    """The name of the algorithm that the source says it is, or None."""
    try:
        with open(PROJECT, encoding="utf-8") as file:
            text = file.read(64 << 10)
    except (OSError, ValueError):
        return None
    import re

    # JSON in general; the quotes are not insisted on.
    found = re.search(r"""["']?algoname["']?\s*[:=]\s*["']?([A-Za-z][A-Za-z0-9_]*)""", text)
    return found.group(1) if found else None


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
    algorithm = sys.modules.get("runnel_adk")
    if algorithm is None and attribute == "apply" and os.path.exists(PROJECT):
        # The older style: a module with apply, and perhaps load.
        import runnel_adk as algorithm
    if algorithm is not None:
        program = algorithm.program(module, attribute, os.path.exists(PROJECT))
        if program is not None:
            return program
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
    return Handler(call, _takes_context(name, call), is_async(call))


def _functions(module):
    names = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__]
    return "its functions are: " + ", ".join(sorted(names)[:20]) if names else "it defines no function"


def _takes_context(name, call):
    counted = arity(call)
    if counted is None:
        return False  # a builtin that does not tell
    least, most, kwonly = counted
    if most < 1 or least > 2 or kwonly:
        raise LoadError("handler %s has the wrong parameters: want (event) or (event, context)" % name)
    return most >= 2


def arity(call):
    """The least and the most positional arguments, and how many keywords it wants; None if it does not tell."""
    code = getattr(call, "__code__", None)
    # The common case, without the 10 ms that it takes to import inspect.
    if code is not None and type(call).__name__ == "function" and not hasattr(call, "__wrapped__"):
        kwonly = code.co_kwonlyargcount - len(call.__kwdefaults__ or ())
        most = sys.maxsize if code.co_flags & VARARGS else code.co_argcount
        return code.co_argcount - len(call.__defaults__ or ()), most, kwonly
    import inspect

    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return None
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
    return least, most, kwonly


def is_async(call):
    """Whether calling it gives a coroutine, as far as that can be seen."""
    for one in (call, getattr(call, "func", None), getattr(type(call), "__call__", None)):
        code = getattr(one, "__code__", None)
        if code is not None and code.co_flags & COROUTINE:
            return True
    return False
