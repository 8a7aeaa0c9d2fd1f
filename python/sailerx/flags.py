"""Command-line flags from the signatures of Python functions, so that types and defaults stand in one place."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints


def add_flags(parser: Any, function: Callable[..., Any], flags: Mapping[str, tuple[str, str]]) -> None:
    """Add one flag for each of these parameters of a function.

    Parameters
    ----------
    parser
        An argparse parser or group.
    function
        Its parameters give each flag's default and type: a truth value becomes a switch, a sequence takes several words, after
        one flag or after a flag each (``--flag=word``, for words that begin with a hyphen), a Literal has choices.
    flags
        Name of the parameter → metavar (empty for argparse's own) and help.
    """
    parameters, hints = inspect.signature(function).parameters, get_type_hints(function)
    for name, (metavar, text) in flags.items():
        default, (kind, options) = parameters[name].default, _kind_of(hints[name])
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
