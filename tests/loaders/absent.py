"""Stand-ins for packages that a checkout imports and its loader does not use: deepspeed, trl and such."""

import importlib.abc
import importlib.machinery
import sys
import types


class _Anything(type):
    """A class that has every name, and may be called and subscripted."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {"__init__": lambda self, *given, **named: None})

    def __getitem__(cls, given):
        return cls


class _Module(types.ModuleType):
    """Has every name: a class that does nothing."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_Anything(self.__name__, (), {}), name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        pass


def stand_in(*names):
    """Let these packages be imported where they are not installed; those that are stay as they are."""
    sys.meta_path.append(_Finder(names))


def bare_package(name, folder):
    """A package of a checkout without what its own `__init__` imports."""
    module = types.ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module
