"""Command-line flags from the signatures of Python functions, so that types and defaults stand in one place."""

from __future__ import annotations

import argparse
import ast
import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sailerx import config

#: what annotations of functions that are not imported may name
_NAMES = vars(config) | {"Sequence": Sequence, "os": os, "np": SimpleNamespace(ndarray=object)}


def add_flags(parser: Any, function: Callable[..., Any] | str, flags: Mapping[str, tuple[str, str]]) -> None:
    """Add one flag for each of these parameters of a function.

    Parameters
    ----------
    parser
        An argparse parser or group.
    function
        Its parameters give each flag's default and type: a truth value becomes a switch, a sequence takes several words, after
        one flag or after a flag each (``--flag=word``, for words that begin with a hyphen), a Literal has choices. Given as
        ``"module:name"``, it is read from its source, and its module is not imported: PyTorch alone would take a second.
    flags
        Name of the parameter → metavar (empty for argparse's own) and help.
    """
    parameters = _in_source(function, flags) if isinstance(function, str) else _imported(function, flags)
    for name, (metavar, text) in flags.items():
        default, hint = parameters[name]
        kind, options = _kind_of(hint)
        if default is inspect.Parameter.empty:
            options["required"] = True
        else:
            options["default"] = default
        if default not in (None, inspect.Parameter.empty) and kind is not bool:
            text = f"{text}; default {default}" if text else f"default {default}"
        if kind is bool:
            options["action"] = "store_false" if default else "store_true"
        else:
            options["type"] = kind
            if metavar:
                options["metavar"] = metavar
        if options.get("action") == "extend" and options["default"] is not None:
            options["default"] = list(options["default"])
        parser.add_argument("--" + name.replace("_", "-"), help=text or None, **options)


def _imported(function: Callable[..., Any], names: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """Look up default and annotation of these parameters; the default is `inspect.Parameter.empty` where there is none."""
    parameters, hints = inspect.signature(function).parameters, get_type_hints(function)
    return {name: (parameters[name].default, hints[name]) for name in names}


def _in_source(place: str, names: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """Read the same of the function ``module:name`` or ``module:Class.name`` from its source; defaults must be literals."""
    module, _, path = place.partition(":")
    spec = find_spec(module)
    assert spec is not None
    found: Any = ast.parse(Path(str(spec.origin)).read_text(encoding="utf-8"))
    for part in path.split("."):
        found = next(node for node in found.body if getattr(node, "name", "") == part)
    of = found.args
    parameters = [*of.posonlyargs, *of.args, *of.kwonlyargs]
    without = [None] * (len(parameters) - len(of.defaults) - len(of.kw_defaults))
    defaults = {
        parameter.arg: (parameter.annotation, default)
        for parameter, default in zip(parameters, [*without, *of.defaults, *of.kw_defaults], strict=True)
    }
    read = {}
    for name in names:
        annotation, default = defaults[name]
        hint = eval(ast.unparse(annotation), dict(_NAMES))
        read[name] = (inspect.Parameter.empty if default is None else ast.literal_eval(default), hint)
    return read


def add_fields(parser: Any, kinds: Mapping[str, Any]) -> None:
    """Add one flag for each field of a settings class; a flag that is not given is None.

    Parameters
    ----------
    parser
        An argparse parser or group.
    kinds
        Name of the field → int, float, bool, or anything else for a word.
    """
    for name, kind in kinds.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        if kind is bool:
            parser.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None)
        else:
            number = kind if kind in (int, float) else str
            metavar = {int: "N", float: "X"}.get(number, "WORD")
            parser.add_argument(flag, dest=name, type=number, metavar=metavar)


def _kind_of(hint: Any) -> tuple[type, dict[str, Any]]:
    """The type of one word of a flag, and further options of argparse, for a parameter with this annotation."""
    if get_origin(hint) is Literal:
        return str, {"choices": list(get_args(hint))}
    parts = [hint, *get_args(hint)]
    for kind in (bool, int, float):
        if kind in parts:
            return kind, {}
    several = any("Sequence" in str(part) for part in parts)
    return str, {"nargs": "+", "action": "extend"} if several else {}
