"""Edits of projects that change what their work finds."""

from __future__ import annotations

import base64
import hashlib
import os
import py_compile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CAPABILITY = """
class Own:
    id = "own"

    def run(self, **_):
        return value()
"""
MAKE = "\ndef make():\n    return {'capability': Own()}\n"
VALUE = "def value():\n    return {}\n"
INPUT = (
    "from helper import value\nclass Given:\n    metadata = {'id': 'given'}\n"
    "    def __call__(self):\n        return value()\n"
)
OF_INPUTS = """
from given import Given
class Own:
    id = "own"
    def run(self, models=(), datasets=(), metrics=(), **_):
        return [*models, *datasets, *metrics][0]()
def make():
    return {{'capability': Own(), '{kind}': [Given()]}}
"""


@dataclass(frozen=True)
class Edit:
    """One edit of one project.

    Attributes:
        files: The project's files, by path in its folder. ``work.py`` has ``make()``, unless it is a notebook.
        after: Those that the edit changes; None for one that it removes.
        path: Folders and archives of the project that are on the path.
        notebook: The cells of a notebook, before and after it, in place of ``work.py``.
        deed: What else is done: with the project's folder, and whether it is after the edit.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str | None] = field(default_factory=dict)
    path: tuple[str, ...] = (".",)
    notebook: tuple[str, str] | None = None
    deed: Callable[[Path, bool], None] | None = None


def _helper(work: str, **more: str) -> Edit:
    files = {"work.py": work + CAPABILITY + MAKE, "helper.py": VALUE.format(1), **more}
    return Edit(files, {"helper.py": VALUE.format(2)})


def _notebook(before: str, after: str, **files: str) -> Edit:
    return Edit(files, notebook=(before + MAKE, after + MAKE))


def _record(folder: Path, name: str, version: str, *modules: str) -> None:
    """What an installer notes of modules, as they are now."""
    rows = []
    for path in modules:
        content = (folder / path).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    notes = folder / f"{name}-{version}.dist-info"
    notes.mkdir(exist_ok=True)
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (notes / "RECORD").write_text("\n".join(rows))


def _installed(folder: Path, after: bool) -> None:
    if not after:
        _record(folder / "site", "planted_lib", "1.0", "planted_lib/__init__.py", "planted_lib/inner.py")


def _upgraded(folder: Path, after: bool) -> None:
    site = folder / "site"
    if after:
        (site / "planted_lib-1.0.dist-info").rename(site / "planted_lib-1.1.dist-info")
    _record(site, "planted_lib", "1.1" if after else "1.0", "planted_lib/__init__.py", "planted_lib/inner.py")


def _plugin(folder: Path, after: bool) -> None:
    if not after:
        notes = folder / "site" / "planted_plugin-1.0.dist-info"
        notes.mkdir(parents=True)
        (notes / "METADATA").write_text("Metadata-Version: 2.1\nName: planted-plugin\nVersion: 1.0\n")
        (notes / "entry_points.txt").write_text("[planted.values]\nfirst = plugged:value\n")


def _zipped(folder: Path, after: bool) -> None:
    with zipfile.ZipFile(folder / "code.zip", "w") as into:
        into.writestr("helper.py", VALUE.format(2 if after else 1))


def _compiled(folder: Path, after: bool) -> None:
    source = folder / "source.txt"
    source.write_text(VALUE.format(20 if after else 1))
    py_compile.compile(str(source), cfile=str(folder / "helper.pyc"), doraise=True)


def _with_its_old_times(folder: Path, after: bool) -> None:
    """As ``cp -p``, ``rsync -t`` and ``tar`` write: as long as before, and of the same time."""
    os.utime(folder / "helper.py", ns=(10**18, 10**18))


LIBRARY = {
    "site/planted_lib/__init__.py": "from planted_lib.inner import value\n",
    "site/planted_lib/inner.py": VALUE.format(1),
    "work.py": "from planted_lib import value\n" + CAPABILITY + MAKE,
}
NOTEBOOK = "class Own:\n    id = 'own'\n    def run(self, **_):\n        return "

CHANGING: dict[str, Edit] = {
    "helper": _helper("from helper import value\n"),
    "helper two imports away": _helper("from first import value\n", **{"first.py": "from helper import value\n"}),
    "from . import": Edit(
        {
            "work.py": "from pack.user import value\n" + CAPABILITY + MAKE,
            "pack/__init__.py": "",
            "pack/user.py": "from . import helper\ndef value():\n    return helper.N\n",
            "pack/helper.py": "N = 1\n",
        },
        {"pack/helper.py": "N = 2\n"},
    ),
    "from .. import": Edit(
        {
            "work.py": "from pack.deep.user import value\n" + CAPABILITY + MAKE,
            "pack/__init__.py": "",
            "pack/deep/__init__.py": "",
            "pack/deep/user.py": "from .. import shared\nfrom ..shared import N\ndef value():\n    return N\n",
            "pack/shared.py": "N = 1\n",
        },
        {"pack/shared.py": "N = 2\n"},
    ),
    "the parent package itself": Edit(
        {
            "work.py": "from pack.user import value\n" + CAPABILITY + MAKE,
            "pack/__init__.py": "import builtins\nbuiltins.planted = 1\n",
            "pack/user.py": "def value():\n    return planted\n",
        },
        {"pack/__init__.py": "import builtins\nbuiltins.planted = 2\n"},
    ),
    "imported in a function": _helper("def value():\n    import helper\n    return helper.value()\n"),
    "imported in a method of a class": _helper(
        "class Lazy:\n    def get(self):\n        if True:\n            try:\n"
        "                from helper import value\n"
        "            finally:\n                pass\n        return value()\ndef value():\n    return Lazy().get()\n"
    ),
    "import_module of a text": _helper(
        "import importlib\ndef value():\n    return importlib.import_module('helper').value()\n"
    ),
    "import_module of a text as a default": _helper(
        "from importlib import import_module\ndef value(name='helper'):\n    return import_module(name).value()\n"
    ),
    "__import__": _helper("def value():\n    return __import__('helper').value()\n"),
    "import_module of a computed text": Edit(
        {
            "work.py": "import importlib\ndef value(n='a'):\n"
            "    return importlib.import_module(f'plugins.plugin_{n}').value()\n" + CAPABILITY + MAKE,
            "plugins/__init__.py": "",
            "plugins/plugin_a.py": VALUE.format(1),
        },
        {"plugins/plugin_a.py": VALUE.format(2)},
    ),
    "import_module of any text": Edit(
        {
            "work.py": "import importlib\ndef value():\n"
            "    return importlib.import_module(''.join(['hel', 'per'])).value()\n" + CAPABILITY + MAKE,
            "helper.py": VALUE.format(1),
        },
        {"helper.py": VALUE.format(2)},
    ),
    "import_module by another name": _helper(
        "from importlib import import_module as load\ndef value():\n    return load('help' + 'er').value()\n"
    ),
    "a file loaded by its path": _helper(
        "import importlib.util, pathlib\ndef value():\n"
        "    at = pathlib.Path(__file__).parent / 'helper.py'\n"
        "    spec = importlib.util.spec_from_file_location('by_path', at)\n"
        "    module = importlib.util.module_from_spec(spec)\n    spec.loader.exec_module(module)\n"
        "    return module.value()\n"
    ),
    "a file that is executed": _helper(
        "import pathlib\ndef value():\n    found = {}\n"
        "    exec(pathlib.Path(__file__).with_name('helper.py').read_text(), found)\n    return found['value']()\n"
    ),
    "an attribute of a package": Edit(
        {
            "work.py": "import pack\nimport user\ndef value():\n    return pack.sub.N\n" + CAPABILITY + MAKE,
            "user.py": "import importlib\nimportlib.import_module('.'.join(('pack', 'sub')))\n",
            "pack/__init__.py": "",
            "pack/sub.py": "N = 1\n",
        },
        {"pack/sub.py": "N = 2\n"},
    ),
    "a package that imports when asked": Edit(
        {
            "work.py": "from pack import value\n" + CAPABILITY + MAKE,
            "pack/__init__.py": "import importlib\nWHERE = {'value': 'hidden'}\ndef __getattr__(name):\n"
            "    if name not in WHERE:\n        raise AttributeError(name)\n"
            "    return getattr(importlib.import_module('.' + WHERE[name], __name__), name)\n",
            "pack/hidden.py": VALUE.format(1),
        },
        {"pack/hidden.py": VALUE.format(2)},
    ),
    "import *": _helper("from first import *\n", **{"first.py": "from helper import *\n"}),
    "a constant": Edit(
        {"work.py": "from helper import N\ndef value():\n    return N\n" + CAPABILITY + MAKE, "helper.py": "N = 1\n"},
        {"helper.py": "N = 2\n"},
    ),
    "a base class": Edit(
        {
            "work.py": "from helper import Base\nclass Own(Base):\n    id = 'own'\n" + MAKE,
            "helper.py": "class Base:\n    def run(self, **_):\n        return 1\n",
        },
        {"helper.py": "class Base:\n    def run(self, **_):\n        return 2\n"},
    ),
    "a class attribute": Edit(
        {"work.py": "class Own:\n    id = 'own'\n    n = 1\n    def run(self, **_):\n        return self.n\n" + MAKE},
        {"work.py": "class Own:\n    id = 'own'\n    n = 2\n    def run(self, **_):\n        return self.n\n" + MAKE},
    ),
    "a metaclass": Edit(
        {
            "work.py": "from helper import Meta\nclass Own(metaclass=Meta):\n    id = 'own'\n    def run(self, **_):\n"
            "        return self.n\n" + MAKE,
            "helper.py": "class Meta(type):\n    def __init__(cls, *_):\n        cls.n = 1\n",
        },
        {"helper.py": "class Meta(type):\n    def __init__(cls, *_):\n        cls.n = 2\n"},
    ),
    "a decorator": Edit(
        {
            "work.py": "from helper import scaled\n@scaled\ndef value():\n    return 1\n" + CAPABILITY + MAKE,
            "helper.py": "def scaled(f):\n    return lambda: f() * 10\n",
        },
        {"helper.py": "def scaled(f):\n    return lambda: f() * 20\n"},
    ),
    "an enum": Edit(
        {
            "work.py": "from helper import Kind\ndef value():\n    return Kind.A.value\n" + CAPABILITY + MAKE,
            "helper.py": "import enum\nclass Kind(enum.Enum):\n    A = 1\n",
        },
        {"helper.py": "import enum\nclass Kind(enum.Enum):\n    A = 2\n"},
    ),
    "the order of definitions that need each other": Edit(
        {"work.py": "def value():\n    return 1\ndef value():\n    return 2\n" + CAPABILITY + MAKE},
        {"work.py": "def value():\n    return 2\ndef value():\n    return 1\n" + CAPABILITY + MAKE},
    ),
    "the order in which a module is looked through": Edit(
        {
            "work.py": "import helper\ndef value():\n"
            "    return next(f() for n, f in vars(helper).items() if n[:2] == 'f_')\n" + CAPABILITY + MAKE,
            "helper.py": "def f_a():\n    return 1\ndef f_b():\n    return 2\n",
        },
        {"helper.py": "def f_b():\n    return 2\ndef f_a():\n    return 1\n"},
    ),
    "a docstring that is read": Edit(
        {"work.py": "def value():\n    'one'\n    return value.__doc__\n" + CAPABILITY + MAKE},
        {"work.py": "def value():\n    'two'\n    return value.__doc__\n" + CAPABILITY + MAKE},
    ),
    "the model's helper": Edit(
        {"work.py": OF_INPUTS.format(kind="models"), "given.py": INPUT, "helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
    ),
    "the dataset's helper": Edit(
        {"work.py": OF_INPUTS.format(kind="datasets"), "given.py": INPUT, "helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
    ),
    "the metric's helper": Edit(
        {"work.py": OF_INPUTS.format(kind="metrics"), "given.py": INPUT, "helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
    ),
    "the config's default": Edit(
        {
            "work.py": "from checkmaite_core import CapabilityConfig\nfrom helper import N\n"
            "class Config(CapabilityConfig):\n    n: int = N\nclass Own:\n    id = 'own'\n"
            "    def run(self, config, **_):\n"
            "        return config.n\ndef make():\n    return {'capability': Own(), 'config': Config()}\n",
            "helper.py": "N = 1\n",
        },
        {"helper.py": "N = 2\n"},
    ),
    "a method of the config": Edit(
        {
            "work.py": "from settings import Config\nclass Own:\n    id = 'own'\n    def run(self, config, **_):\n"
            "        return config.n\ndef make():\n    return {'capability': Own(), 'config': Config()}\n",
            "settings.py": "from checkmaite_core import CapabilityConfig\nfrom helper import value\n"
            "class Config(CapabilityConfig):\n    @property\n    def n(self):\n        return value()\n",
            "helper.py": VALUE.format(1),
        },
        {"helper.py": VALUE.format(2)},
    ),
    "the module of a loader": Edit(
        {
            "work.py": "from checkmaite_core import DatasetRef\nclass Own:\n    id = 'own'\n"
            "    def run(self, datasets, **_):\n        return datasets[0]()\ndef make():\n"
            "    return {'capability': Own(), 'datasets': ["
            "DatasetRef(id='d', uri='u', fingerprint='f', loader=':'.join(['loading', 'load']))]}\n",
            "loading.py": "import helper\ndef load(uri):\n    return helper.value\n",
            "helper.py": VALUE.format(1),
        },
        {"helper.py": VALUE.format(2)},
    ),
    "an editable dependency of an editable package": Edit(
        {
            "one/src/planted_one/__init__.py": "from planted_two.inner import value\n" + CAPABILITY,
            "two/src/planted_two/__init__.py": "",
            "two/src/planted_two/inner.py": VALUE.format(1),
            "work.py": "from planted_one import Own\n" + MAKE,
        },
        {"two/src/planted_two/inner.py": VALUE.format(2)},
        path=(".", "one/src", "two/src"),
    ),
    "the second root of a namespace": Edit(
        {
            "work.py": "from spaced.user import value\n" + CAPABILITY + MAKE,
            "spaced/user.py": "from spaced.deep.helper import value\n",
            "second/spaced/deep/helper.py": VALUE.format(1),
        },
        {"second/spaced/deep/helper.py": VALUE.format(2)},
        path=(".", "second"),
    ),
    "a flat folder of PYTHONPATH": Edit(
        {"work.py": "from helper import value\n" + CAPABILITY + MAKE, "flat/helper.py": VALUE.format(1)},
        {"flat/helper.py": VALUE.format(2)},
        path=(".", "flat"),
    ),
    "an archive on the path": Edit(
        {"work.py": "from helper import value\n" + CAPABILITY + MAKE}, path=(".", "code.zip"), deed=_zipped
    ),
    "bytecode without its source": Edit({"work.py": "from helper import value\n" + CAPABILITY + MAKE}, deed=_compiled),
    "a file that hides another": Edit(
        {"work.py": "from helper import value\n" + CAPABILITY + MAKE, "flat/helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
        path=(".", "flat"),
    ),
    "a file with the name of a module of Python": Edit(
        {"work.py": "from statistics import value\n" + CAPABILITY + MAKE, "statistics.py": VALUE.format(1)},
        {"statistics.py": VALUE.format(2)},
    ),
    "an optional module that appears": Edit(
        {
            "work.py": "try:\n    from helper import value\nexcept ImportError:\n    def value():\n        return 1\n"
            + CAPABILITY
            + MAKE
        },
        {"helper.py": VALUE.format(2)},
    ),
    "a module that becomes a package": Edit(
        {"work.py": "from helper import value\n" + CAPABILITY + MAKE, "helper.py": VALUE.format(1)},
        {"helper/__init__.py": VALUE.format(2)},
    ),
    "an edit with its old size and time": Edit(
        {"work.py": "from helper import value\n" + CAPABILITY + MAKE, "helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
        deed=_with_its_old_times,
    ),
    "an installed file that was edited": Edit(
        LIBRARY, {"site/planted_lib/inner.py": VALUE.format(2)}, path=(".", "site"), deed=_installed
    ),
    "an installed dependency of another version": Edit(
        LIBRARY, {"site/planted_lib/inner.py": VALUE.format(2)}, path=(".", "site"), deed=_upgraded
    ),
    "a plugin found by its entry point": Edit(
        {
            "work.py": "from importlib.metadata import entry_points\ndef value():\n"
            "    (point,) = entry_points(group='planted.values')\n    return point.load()()\n" + CAPABILITY + MAKE,
            "plugged.py": VALUE.format(1),
        },
        {"plugged.py": VALUE.format(2)},
        path=(".", "site"),
        deed=_plugin,
    ),
    "a data file beside the code": Edit(
        {
            "work.py": "import pathlib\ndef value():\n"
            "    return (pathlib.Path(__file__).parent / 'labels.txt').read_text()\n" + CAPABILITY + MAKE,
            "labels.txt": "one",
        },
        {"labels.txt": "two"},
    ),
    "a data file in a folder of a package": Edit(
        {
            "work.py": "from pack.user import value\n" + CAPABILITY + MAKE,
            "pack/__init__.py": "",
            "pack/user.py": "from importlib import resources\ndef value():\n"
            "    return (resources.files('pack') / 'tables' / 'labels.txt').read_text()\n",
            "pack/tables/labels.txt": "one",
        },
        {"pack/tables/labels.txt": "two"},
    ),
    "a data file whose name is computed": Edit(
        {
            "work.py": "import pathlib\ndef value(n='digits'):\n"
            "    return pathlib.Path(__file__).with_name(f'{n}_labels.txt').read_text()\n" + CAPABILITY + MAKE,
            "digits_labels.txt": "one",
        },
        {"digits_labels.txt": "two"},
    ),
    "data files that are listed": Edit(
        {
            "work.py": "import pathlib\ndef value():\n"
            "    return sorted(p.read_text() for p in (pathlib.Path(__file__).parent / 'parts').glob('*.txt'))\n"
            + CAPABILITY
            + MAKE,
            "parts/a.txt": "one",
        },
        {"parts/b.txt": "two"},
    ),
    "a default argument of a notebook": _notebook(
        "def value(n=1):\n    return n\n" + CAPABILITY, "def value(n=2):\n    return n\n" + CAPABILITY
    ),
    "a keyword default of a notebook": _notebook(
        "def value(*, n=1):\n    return n\n" + CAPABILITY, "def value(*, n=2):\n    return n\n" + CAPABILITY
    ),
    "a closure of a notebook": _notebook(
        "def made(n):\n    return lambda: n\nvalue = made(1)\n" + CAPABILITY,
        "def made(n):\n    return lambda: n\nvalue = made(2)\n" + CAPABILITY,
    ),
    "functools.partial": _notebook(
        "import functools\nvalue = functools.partial(int, '1')\n" + CAPABILITY,
        "import functools\nvalue = functools.partial(int, '2')\n" + CAPABILITY,
    ),
    "functools.partial of a helper": Edit(
        {"helper.py": "def add(n):\n    return n + 1\n"},
        {"helper.py": "def add(n):\n    return n + 2\n"},
        notebook=("import functools, helper\nvalue = functools.partial(helper.add, 1)\n" + CAPABILITY + MAKE,) * 2,
    ),
    "a class attribute of a notebook": _notebook(NOTEBOOK + "self.n\n    n = 1\n", NOTEBOOK + "self.n\n    n = 2\n"),
    "a metaclass of a notebook": _notebook(
        "class Meta(type):\n    @property\n    def n(cls):\n        return 1\n"
        "class Own(metaclass=Meta):\n    id = 'own'\n    def run(self, **_):\n        return type(self).n\n",
        "class Meta(type):\n    @property\n    def n(cls):\n        return 2\n"
        "class Own(metaclass=Meta):\n    id = 'own'\n    def run(self, **_):\n        return type(self).n\n",
    ),
    "an attribute of a function of a notebook": _notebook(
        "def value():\n    return value.n\nvalue.n = 1\n" + CAPABILITY,
        "def value():\n    return value.n\nvalue.n = 2\n" + CAPABILITY,
    ),
    "a list of a notebook": _notebook(
        "STATE = [1]\ndef value():\n    return STATE[0]\n" + CAPABILITY,
        "STATE = [2]\ndef value():\n    return STATE[0]\n" + CAPABILITY,
    ),
    "a decorator of a notebook": _notebook(
        "def scaled(f):\n    return lambda: f() * 10\n@scaled\ndef value():\n    return 1\n" + CAPABILITY,
        "def scaled(f):\n    return lambda: f() * 20\n@scaled\ndef value():\n    return 1\n" + CAPABILITY,
    ),
    "a module that a notebook imports": Edit(
        {"first.py": "from helper import value\n", "helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
        notebook=("import first as f\ndef value():\n    return f.value()\n" + CAPABILITY + MAKE,) * 2,
    ),
    "a module that a function of a notebook imports": Edit(
        {"first.py": "from helper import value\n", "helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
        notebook=("def value():\n    from first import value\n    return value()\n" + CAPABILITY + MAKE,) * 2,
    ),
    "a module of a package that a notebook imports": Edit(
        {"pack/__init__.py": "", "pack/sub.py": VALUE.format(1)},
        {"pack/sub.py": VALUE.format(2)},
        notebook=("import pack.sub\ndef value():\n    return pack.sub.value()\n" + CAPABILITY + MAKE,) * 2,
    ),
    "a text that a notebook imports by": Edit(
        {"helper.py": VALUE.format(1)},
        {"helper.py": VALUE.format(2)},
        notebook=(
            "import importlib\ndef value():\n    return importlib.import_module('helper').value()\n"
            + CAPABILITY
            + MAKE,
        )
        * 2,
    ),
    "a class of an annotation of a notebook": _notebook(
        "from pydantic import BaseModel\nclass Inner(BaseModel):\n    n: int = 1\n"
        "class Outer(BaseModel):\n    inner: Inner\n"
        "def value():\n    return Outer.model_validate({'inner': {}}).inner.n\n" + CAPABILITY,
        "from pydantic import BaseModel\nclass Inner(BaseModel):\n    n: int = 2\n"
        "class Outer(BaseModel):\n    inner: Inner\n"
        "def value():\n    return Outer.model_validate({'inner': {}}).inner.n\n" + CAPABILITY,
    ),
}
