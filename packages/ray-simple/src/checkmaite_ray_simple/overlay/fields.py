"""The fields of a ``runtime_env``: which there are, of what type, and which go together."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, JsonValue

from checkmaite_core.errors import ConfigurationError

__all__ = ["OverlayFields", "OverlayWarning", "check_fields"]


class OverlayWarning(UserWarning):
    """Something about a ``runtime_env`` works, and is not what one would expect or want."""


_Kind = tuple[tuple[type, ...], str]
"""Types of a value, and how to say so."""
_TEXT: _Kind = ((str,), "text")
_TEXTS: _Kind = ((list,), "a list of texts")
_FLAG: _Kind = ((bool,), "True or False")
_MAPPING: _Kind = ((dict,), "a mapping")
_PACKAGES: _Kind = ((str, list, dict), "a list of requirements, a requirements file, or a mapping with 'packages'")
_FIELDS: Mapping[str, _Kind] = {
    "working_dir": ((str,), "a folder or the URI of an archive, as text"),
    "py_modules": _TEXTS,
    "excludes": _TEXTS,
    "env_vars": ((dict,), "a mapping of names to texts"),
    "pip": _PACKAGES,
    "uv": _PACKAGES,
    "conda": ((str, dict), "the name of an environment, the path of its file, or its description as a mapping"),
    "container": _MAPPING,
    "image_uri": _TEXT,
    "py_executable": _TEXT,
    "java_jars": _TEXTS,
    "worker_process_setup_hook": ((str,), "the name of a function on the workers, 'module.function'"),
    "config": _MAPPING,
    "nsight": ((str, dict), "text or a mapping"),
    "rocprof_sys": ((str, dict), "text or a mapping"),
}
_INSTALLERS: Mapping[str, Mapping[str, _Kind]] = {
    name: {
        "packages": ((str, list), "a list of requirements or a requirements file"),
        f"{name}_check": _FLAG,
        f"{name}_version": _TEXT,
        options: _TEXTS,
    }
    for name, options in (("pip", "pip_install_options"), ("uv", "uv_pip_install_options"))
}
_CONTAINERS = ("container", "image_uri")
_BESIDE_A_CONTAINER = frozenset({"config", "env_vars"})


def check_fields(runtime_env: Any) -> dict[str, Any]:
    """Check a ``runtime_env`` as far as that needs no look at files, nodes or versions.

    Args:
        runtime_env: As the user gave it.

    Returns:
        A copy without empty fields, with paths and modules as texts.

    Raises:
        ConfigurationError: A field is unknown, of a wrong type, or cannot stand beside another. No value of a variable
            is in its text.
    """
    if not isinstance(runtime_env, Mapping):
        raise ConfigurationError(
            f"runtime_env is of type {_type(runtime_env)}; it must be a mapping.",
            hint='Write runtime_env={"working_dir": ".", "env_vars": {"NAME": "text"}}, or leave it out.',
        )
    given = {key: _plain(value) for key, value in runtime_env.items() if value is not None}
    _check("runtime_env", given, _FIELDS, others=bool(os.environ.get("RAY_RUNTIME_ENV_PLUGINS")))
    for installer, fields in _INSTALLERS.items():
        if isinstance(given.get(installer), dict):
            _check(f"runtime_env[{installer!r}]", given[installer], fields)
            _require_packages(installer, given[installer])
    _check_variables(given.get("env_vars", {}))
    _check_together(given)
    return given


OverlayFields = Annotated[dict[str, JsonValue], BeforeValidator(check_fields)]
"""The type of an option that holds a ``runtime_env``."""


def _plain(value: Any) -> Any:
    """Paths and modules as texts, also in lists; copies of containers."""
    if isinstance(value, ModuleType):
        places: Sequence[str] = list(getattr(value, "__path__", ())) or [getattr(value, "__file__", None) or ""]
        return places[0]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check(where: str, given: Mapping[Any, Any], fields: Mapping[str, _Kind], *, others: bool = False) -> None:
    for key, value in given.items():
        if key not in fields:
            if others or str(key).startswith("_"):  # of a plugin, or Ray's own
                continue
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
            raise ConfigurationError(
                f"{where} has no field {key!r}.",
                hint=f"{f'Did you mean {near[0]!r}? ' if near else ''}It has {', '.join(sorted(fields))}.",
            )
        types, wanted = fields[key]
        if not isinstance(value, types):
            raise _wrong_type(f"{where}[{key!r}]", value, wanted)
        if isinstance(value, list):
            for position, item in enumerate(value):
                if not isinstance(item, str):
                    raise _wrong_type(f"{where}[{key!r}][{position}]", item, "text")


def _wrong_type(where: str, value: Any, wanted: str) -> ConfigurationError:
    hint = "Correct it."
    if callable(value):
        hint = "Put its module into working_dir or py_modules, so that workers can import it, and give its name."
    return ConfigurationError(f"{where} is of type {_type(value)}; it must be {wanted}.", hint=hint)


def _type(value: Any) -> str:
    return type(value).__name__


def _require_packages(name: str, given: Mapping[str, Any]) -> None:
    if "packages" not in given:
        raise ConfigurationError(
            f"runtime_env[{name!r}] has no 'packages'.",
            hint=f'Write {{"{name}": {{"packages": ["name==1.2"]}}}}, or {{"{name}": ["name==1.2"]}}.',
        )


def _check_variables(variables: Mapping[Any, Any]) -> None:
    for name, value in variables.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ConfigurationError(
                "runtime_env: a name in env_vars is no name of a variable.",
                hint="It must be text, not empty, and without '='.",
            )
        if not isinstance(value, str) or "\0" in value:
            raise ConfigurationError(
                f"runtime_env: env_vars[{name!r}] is of type {_type(value)}; it must be text (without NUL).",
                hint=f"Put it in quotes, such as {{'{name}': '1'}}; the value itself is not shown here.",
            )


def _check_together(given: Mapping[str, Any]) -> None:
    environments = [name for name in ("pip", "uv", "conda") if given.get(name)]
    if len(environments) > 1:
        raise ConfigurationError(
            f"runtime_env has {' and '.join(map(repr, environments))}, and each makes an environment of its own.",
            hint="Keep one. A conda environment takes packages of pip in its own description: "
            '{"conda": {"dependencies": ["pip", {"pip": ["name==1.2"]}]}}.',
        )
    for name in _CONTAINERS:
        others = sorted(set(given) - {name} - _BESIDE_A_CONTAINER)
        if given.get(name) and others:
            raise ConfigurationError(
                f"runtime_env has {name!r}, beside which Ray takes env_vars and config only, not "
                f"{', '.join(map(repr, others))}: the worker starts inside that image, and nothing is added to it.",
                hint="Put what they bring into that image, which must hold the cluster's Python, Ray and checkmaite; "
                "every node needs podman for it.",
            )
