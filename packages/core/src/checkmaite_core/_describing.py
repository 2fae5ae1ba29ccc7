"""Describing objects as JSON values that are equal in every process, or saying that it cannot be done.

Classes and functions that a worker imports are described by name and by the code under that name. Those that travel
with the work, because a script or notebook defines them, are described by what they are made of: bytecode, constants,
defaults, and whatever of their surroundings they use, and so on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import dis
import enum
import fractions
import functools
import hashlib
import inspect
import json
import logging
import pathlib
import pickle
import re
import sys
import types
import typing
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from checkmaite_core._contents import large_leaf, pickled, reduced
from checkmaite_core.code.graph import Look
from checkmaite_core.code.surroundings import Surroundings, surroundings_of, travels_by_value
from checkmaite_core.code.walk import Reach

__all__ = ["Describer", "NotStableError", "canonical"]

_MOST = 100_000
_DEEPEST = 100
"""How many objects are looked at for one description, and how far into them."""
_PLAIN = (type(None), bool, int, float, str)
_BY_TEXT = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    complex,
    pathlib.PurePath,
    range,
    uuid.UUID,
    type(Ellipsis),
    type(NotImplemented),
)
_MOST_ATTRIBUTES = 100
_SILENT = frozenset({"builtins", "datetime", "pathlib", "collections"})
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


_MOST_EXACT = 20_000
"""How many parts of an input are described one by one; a larger one is digested as its pickle, which is quicker."""


class NotStableError(Exception):
    """Something cannot be described in a way that is the same in every process."""


class _TooLargeError(NotStableError):
    """Something has too many parts to be described, or they lie too deep."""


def canonical(document: Any) -> str:
    """JSON text that is equal for equal values."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


class Describer:
    """Describes objects, and keeps what it has found out about their classes and modules.

    Args:
        look: At the code; a new one if None.
    """

    def __init__(self, look: Look | None = None) -> None:
        self.look = look or Look()
        self.roots: set[str] = set()
        """The modules that code was found in, so far."""
        self.files: dict[str, str] = {}
        """Digests of the data files that functions of notebooks and scripts name, by how they are shown."""
        self._classes: dict[type, Any] = {}
        self._reached: dict[type, tuple[set[str], dict[str, str]]] = {}

    def value(self, value: Any) -> Any:
        """A description of an object.

        Raises:
            NotStableError: There is none.
        """
        return _Walk(self).value(value)

    def content(self, value: Any) -> Any:
        """A description of all that travels of an object: also of what is no part of its identity by its own account.

        Equal for equal objects in every process, as a rule; different for different ones, always.

        Raises:
            NotStableError: There is none.
        """
        try:
            return _Walk(self, exact=True).value(value)
        except _TooLargeError:
            pass
        try:
            digest = pickled(value, lambda code: _digest(self.value(code)), lambda each: large_leaf(each, ordered=True))
        except NotStableError:
            raise
        except Exception as error:  # pickling runs the user's __reduce__: anything can be raised, all is reported
            raise NotStableError(f"a {_name(type(value))} that cannot be pickled ({type(error).__name__})") from error
        return ["pickle", digest]

    def class_of(self, kind: type) -> Any:
        """A description of a class, on its own."""
        if kind not in self._classes:
            self._classes[kind] = _Walk(self, inside=True).value(kind)
        return self._classes[kind]

    def reach(self, values: Iterable[Any], modules: Iterable[str] = ()) -> Reach:
        """All code that a worker comes to that runs with these.

        Args:
            values: Objects that are sent to it.
            modules: Names of modules that it imports besides.
        """
        roots, files = set(modules), dict[str, str]()
        for value in values:
            kinds = [type(value), *_classes_and_functions(value)]
            for kind in kinds:
                modules_of_kind, files_of_kind = self._reach_of(kind)
                roots |= modules_of_kind
                files |= files_of_kind
        reach = self.look.reach(roots)
        return dataclasses.replace(reach, files={**reach.files, **files}) if files else reach

    def _reach_of(self, kind: Any) -> tuple[set[str], dict[str, str]]:
        if kind in self._reached:
            return self._reached[kind]
        outer = self.roots, self.files
        self.roots, self.files = set(), {}
        try:
            if _is_importable(kind):
                self.roots.add(kind.__module__)
            else:
                with contextlib.suppress(NotStableError):  # what was come to by then counts
                    _Walk(self, inside=True).value(kind)
            found = self._reached[kind] = self.roots, self.files
        finally:
            self.roots, self.files = outer[0] | self.roots, outer[1] | self.files
        return found

    def code(self, module: str) -> str:
        """The code under a module's name, with all that it can reach.

        Raises:
            NotStableError: There is none to be found.
        """
        reach = self.look.reach([module])
        if reach.unknown:
            raise NotStableError(f"module {module!r} has no file")
        self.roots.add(module)
        return reach.digest

    def loader(self, loader: Any) -> Any:
        """What loads an input: a function, or the name of one as ``module:function``, with the code behind it."""
        if not isinstance(loader, str):
            return self.value(loader)
        module = loader.partition(":")[0]
        reach = self.look.reach([module])
        self.roots.add(module)
        # Where it cannot be found it is a name alone: it may be on the worker only.
        return [loader, reach.digest]

    def surroundings(self, function: types.FunctionType) -> list[Any]:
        """What a function that travels imports and names."""
        found: Surroundings = surroundings_of(function, self.look)
        if found.uncertain is not None:
            raise NotStableError(found.uncertain)
        self.roots.update(found.modules)
        self.files.update(found.files)
        reach: Reach = self.look.reach(found.modules)
        return [sorted(found.modules), reach.digest, sorted(found.files.items())]


class _Walk:
    """One description. What is met again inside itself, or a class again, is named by the number of its first meeting.

    Args:
        describer: What is known of classes and modules.
        inside: Whether code is being described: its classes are then met like everything else. Classes of mere
            values are described on their own, so that this has to be done only once.
        exact: Whether all that travels of an object counts: the order of mappings, and fields of models that are
            excluded from what they are compared by.
    """

    def __init__(self, describer: Describer, *, inside: bool = False, exact: bool = False) -> None:
        self._describer = describer
        self._inside = inside
        self._exact = exact
        self._depth = self._count = 0
        self._met: dict[int, int] = {}

    def value(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if id(value) in self._met:
            return ["met", self._met[id(value)]]
        self._count += 1
        if self._count > (_MOST_EXACT if self._exact else _MOST) or self._depth >= _DEEPEST:
            raise _TooLargeError(f"a {_name(type(value))} that is part of something too large to be described")
        self._met[id(value)] = self._count
        self._depth += 1
        try:
            return self._described(value)
        finally:
            self._depth -= 1
            # Equal values count as equal, whether they are one object or two; classes and functions have a name.
            if not isinstance(value, type | types.FunctionType):
                del self._met[id(value)]

    def _described(self, value: Any) -> Any:
        if type(value) in (bytes, bytearray):
            return [type(value).__name__, hashlib.sha256(value).hexdigest()]
        if isinstance(value, enum.Enum):
            return ["enum", self._class(type(value)), value.name]
        if isinstance(value, _BY_TEXT) and type(value).__module__.partition(".")[0] in sys.stdlib_module_names:
            return ["text", _name(type(value)), _text(value)]
        if type(value) is re.Pattern:  # whose repr is cut short
            return ["pattern", self.value(value.pattern), value.flags]
        if type(value) is pickle.PickleBuffer:
            return ["buffer", hashlib.sha256(value.raw()).hexdigest()]
        leaf = large_leaf(value, ordered=self._exact)
        if leaf is not None:
            return leaf
        if type(value) in (list, tuple):
            return [type(value).__name__, [self.value(item) for item in value]]
        if type(value) in (set, frozenset):
            return [type(value).__name__, sorted(map(self._apart, value), key=canonical)]
        if type(value) in (dict, OrderedDict, types.MappingProxyType):
            return self._mapping(value)
        if isinstance(value, type):
            return self._class_itself(value)
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__, self._describer.code(value.__name__)]
        if isinstance(value, logging.Logger):
            return ["logger", value.name]
        if isinstance(value, types.CodeType):
            return self._code(value)
        parts = _parts(value)
        if parts is not None:
            return [_name(type(value)), *map(self.value, parts)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType | None):
            module = value.__module__ or "builtins"
            return ["builtin", module, value.__qualname__, self._describer.code(module)]
        if type(value).__module__ == "typing" or isinstance(value, types.GenericAlias | types.UnionType):
            return ["typing", _text(value)]
        return self._object(value)

    def _mapping(self, value: Any) -> Any:
        ordered = self._exact or type(value) is OrderedDict
        pairs = [(canonical(self._apart(key)), item) for key, item in value.items()]
        kind = "ordered" if type(value) is OrderedDict else "dict"
        return [kind, [[key, self.value(item)] for key, item in (pairs if ordered else sorted(pairs, key=_first))]]

    def _apart(self, value: Any) -> Any:
        """What is described on its own, for what it is met in has no order."""
        walk = _Walk(self._describer, exact=self._exact)
        walk._count, walk._depth = self._count, self._depth
        described = walk.value(value)
        self._count = walk._count
        return described

    def _object(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, BaseModel):
            state = dict(vars(value))
            if not self._exact:
                excluded = {name for name, field in kind.model_fields.items() if field.exclude}
                state = {name: state[name] for name in kind.model_fields if name not in excluded}
            state |= value.__pydantic_extra__ or {}
            state |= value.__pydantic_private__ or {}
        elif _is_plain(kind):
            state = vars(value)
        else:
            return self._reduced(value)
        return ["object", self._class(kind), [[name, self.value(state[name])] for name in sorted(state)]]

    def _reduced(self, value: Any) -> Any:
        """What pickle would make it anew from."""
        kind = type(value)
        if kind in (object, memoryview):  # the one is itself alone, the other a view of something
            raise NotStableError(f"a {_name(kind)}")
        try:
            found = reduced(value)
        except Exception as error:  # its class runs: anything can be raised, all is reported
            raise NotStableError(f"a {_name(kind)}") from error
        if isinstance(found, str):
            module = str(getattr(value, "__module__", None) or kind.__module__)
            return ["global", module, found, self._describer.code(module)]
        parts: list[Any] = [*found, *[None] * (6 - len(found))]
        make, arguments, state, items, pairs, setter = parts
        listed = None if items is None else list(items)
        paired = None if pairs is None else [list(pair) for pair in pairs]
        if isinstance(value, set | frozenset):
            arguments = [self.value(kind), sorted(map(self._apart, value), key=canonical)]
            return ["made", self.value(make), arguments, self.value(state)]
        return ["made", *map(self.value, (make, arguments, state, listed, paired, setter))]

    def _class(self, kind: type) -> Any:
        return self.value(kind) if self._inside else self._describer.class_of(kind)

    def _class_itself(self, kind: type) -> Any:
        if not self._inside:
            return self._describer.class_of(kind)
        if _is_importable(kind):
            code = self._describer.code(kind.__module__)
            return ["class", _name(kind), code, [self.value(base) for base in kind.__bases__ if base is not object]]
        entries = [[name, self.value(entry)] for name, entry in _entries(kind)]
        fields = [self.value(field) for field in _fields(kind)]
        bases = [self.value(base) for base in kind.__bases__]
        made_by = None if type(kind) is type else self.value(type(kind))
        return ["class", kind.__qualname__, bases, made_by, fields, entries]

    def _function(self, function: types.FunctionType) -> Any:
        if _is_importable(function):
            return ["function", function.__module__, function.__qualname__, self._describer.code(function.__module__)]
        if not self._inside:
            return _Walk(self._describer, inside=True).value(function)
        used = sorted(name for name in set(_globals(function.__code__)) if name in function.__globals__)
        closure = [_content(cell) for cell in function.__closure__ or ()]
        own = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
        parts = (function.__code__, function.__defaults__, function.__kwdefaults__, closure, own)
        surroundings = [[name, self.value(function.__globals__[name])] for name in used]
        imports = self._describer.surroundings(function)
        return ["function", function.__qualname__, *map(self.value, parts), surroundings, imports]

    def _code(self, code: types.CodeType) -> Any:
        facts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        data = (code.co_code, code.co_exceptiontable)
        return ["code", [*facts], *map(list, names), *(item.hex() for item in data), self.value(code.co_consts)]


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def _digest(document: Any) -> str:
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(value: Any) -> str:
    text = repr(value)
    if " at 0x" in text:
        raise NotStableError(text)
    return text


def _is_importable(value: Any) -> bool:
    """Whether a worker finds this very object under its name."""
    if not isinstance(value.__module__, str) or value.__module__ == "__main__" or travels_by_value(value.__module__):
        return False
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _is_plain(kind: type) -> bool:
    """Whether all there is to know of an instance is in its ``__dict__``."""
    own = all(getattr(kind, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__", "__getstate__"))
    # Instances of a class that is not Python's hold what cannot be seen.
    seen = all(base is object or base.__flags__ & (1 << 9) for base in kind.__mro__)
    return own and seen and hasattr(kind, "__dict__") and "__dict__" in dir(kind) and not _slots(kind)


def _slots(kind: type) -> bool:
    return any(isinstance(entry, types.MemberDescriptorType) for base in kind.__mro__ for entry in vars(base).values())


def _parts(value: Any) -> tuple[Any, ...] | None:
    """What a wrapper around functions is made of; None if it is none."""
    found: dict[type, Callable[[Any], tuple[Any, ...]]] = {
        property: lambda each: (each.fget, each.fset, each.fdel),
        classmethod: lambda each: (each.__func__,),
        staticmethod: lambda each: (each.__func__,),
        functools.cached_property: lambda each: (each.func,),
        functools.partial: lambda each: (each.func, each.args, each.keywords),
        functools.partialmethod: lambda each: (each.func, each.args, each.keywords),
        types.MethodType: lambda each: (each.__func__, each.__self__),
        functools._lru_cache_wrapper: lambda each: (each.__wrapped__,),
    }
    take = found.get(type(value))
    return None if take is None else take(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError as error:
        raise NotStableError("a function whose surroundings are not complete yet") from error


def _globals(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBALS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals(constant)


def _entries(kind: type) -> Iterator[tuple[str, Any]]:
    """What the body of a class says, without what Python, pydantic and dataclasses make of it."""
    if issubclass(kind, enum.Enum):
        yield "members", {name: member.value for name, member in kind.__members__.items()}
    for name, entry in sorted(vars(kind).items()):
        if isinstance(entry, types.FunctionType):
            by_dataclass = "__create_fn__" in inspect.unwrap(entry).__code__.co_qualname
            if not by_dataclass and not entry.__module__.startswith("pydantic."):  # those follow from the fields
                yield name, entry
        elif isinstance(entry, classmethod | staticmethod | property | functools.cached_property) or not (
            name.startswith("__") or name == "_abc_impl" or issubclass(kind, enum.Enum) or _is_descriptor(entry)
        ):
            yield name, entry


def _is_descriptor(entry: Any) -> bool:
    return isinstance(entry, types.MemberDescriptorType | types.GetSetDescriptorType)


def _fields(kind: type) -> Iterator[tuple[Any, ...]]:
    """The fields of a class that has any: name, type as text, what it is by default, what else is said of it."""
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            default = () if field.is_required() else (field.default_factory or field.default,)
            yield name, _text(field.annotation), _classes_in(field.annotation), default, field.metadata
    elif dataclasses.is_dataclass(kind):
        for each in dataclasses.fields(kind):
            given = (value for value in (each.default, each.default_factory) if value is not dataclasses.MISSING)
            yield each.name, _text(each.type), _classes_in(each.type), tuple(given), ()
    else:
        for name, hint in sorted(vars(kind).get("__annotations__", {}).items()):
            yield name, _text(hint), _classes_in(hint), (), ()


def _classes_and_functions(value: Any) -> Iterator[Any]:
    """Those among the attributes of an object, and in the plain collections among these."""
    rest = list(vars(value).values()) if hasattr(value, "__dict__") and not isinstance(value, type) else []
    for depth in range(2):
        inner: list[Any] = []
        for each in rest[:_MOST_ATTRIBUTES]:
            if isinstance(each, type | types.FunctionType):
                yield each
            elif isinstance(each, functools.partial):
                inner += [each.func, *each.args, *each.keywords.values()]
            elif isinstance(each, types.MethodType):
                inner += [each.__func__, each.__self__]
            elif isinstance(each, dict) and not depth:
                inner += list(each.values())[:_MOST_ATTRIBUTES]
            elif isinstance(each, list | tuple) and not depth:
                inner += each[:_MOST_ATTRIBUTES]
            elif type(each).__module__ not in _SILENT:
                yield type(each)
        rest = inner


def _classes_in(hint: Any) -> tuple[type, ...]:
    """The classes that an annotation is made of."""
    found = [hint] if isinstance(hint, type) and not typing.get_args(hint) else []
    return (*found, *(inner for each in typing.get_args(hint) for inner in _classes_in(each)))
