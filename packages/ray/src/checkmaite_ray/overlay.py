"""Provisional."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def prepare_overlay(runtime_env: Mapping[str, Any]) -> str:
    """Provisional."""
    return json.dumps(dict(runtime_env), sort_keys=True)
